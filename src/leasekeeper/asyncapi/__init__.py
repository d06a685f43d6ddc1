"""AsyncAPI: a document of what an app consumes and sends, made from its code, and a page to read it.

Used by `leasekeeper docs`. `document_of(app)` is a dictionary for AsyncAPI 3.0; `page_of(document)` is HTML that loads
nothing from elsewhere.
"""

from leasekeeper.asyncapi.document import document_of
from leasekeeper.asyncapi.page import page_of

__all__ = ["document_of", "page_of"]
