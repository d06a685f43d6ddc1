"""As Django makes it; the command `leasekeeper` runs the consumers and the tasks.

cd examples/django_shop
leasekeeper local --queue orders --queue shop-default --queue shop-urgent &
export AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9324        # without these two lines: AWS
pip install django django-tasks
python manage.py leasekeeper &
leasekeeper send orders tea
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    execute_from_command_line(sys.argv)
