"""Credentials are found where boto3 finds them, and kept fresh without a call ever waiting for what it has."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from leasekeeper.api import Credentials
from leasekeeper.errors import CredentialsMissing, SqsError, Verdict
from leasekeeper.sqs.credentials import CredentialKeeper, Fixed, FromBotocore, FromProvider
from leasekeeper.sqs.endpoint import new_session
from leasekeeper.sqs.settings import ClientSettings
from leasekeeper.testing.world import virtual

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


class Source:
    """Answers by script: credentials, or an error to raise; each fetch waits until it is let through."""

    def __init__(self, *answers: Credentials | Exception, self_refreshing: bool = False) -> None:
        self.answers = list(answers)
        self.self_refreshing = self_refreshing
        self.asked: list[bool] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, *, renew: bool) -> Credentials:
        self.asked.append(renew)
        await self.gate.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def __repr__(self) -> str:
        return "<source>"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def key(name: str, expiry: float | None = None) -> Credentials:
    return Credentials(access_key=name, secret_key="s", expiry=expiry)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def play(
    story: Callable[[CredentialKeeper, Source, Clock], Awaitable[None]], *answers: Credentials | Exception, **kind: bool
) -> None:
    async def whole() -> None:
        clock, source = Clock(), Source(*answers, **kind)
        keeper = CredentialKeeper(source, clock=clock)
        await keeper.start()
        await story(keeper, source, clock)
        keeper.close()

    asyncio.run(whole())


def test_fixed_credentials_are_asked_for_once() -> None:
    async def story(keeper: CredentialKeeper, source: Source, clock: Clock) -> None:
        clock.now += 1e9
        assert keeper.current() == key("a")
        assert source.asked == [False]

    play(story, key("a"))


def test_a_refresh_begins_before_expiry_and_no_call_waits_for_it() -> None:
    async def story(keeper: CredentialKeeper, source: Source, clock: Clock) -> None:
        source.gate.clear()
        clock.now = 1000 + 3600 - 901
        assert keeper.current() == key("a", 4600)
        assert len(source.asked) == 1
        clock.now += 2
        assert keeper.current() == key("a", 4600)
        assert keeper.current() == key("a", 4600)
        await settle()
        assert len(source.asked) == 2
        source.gate.set()
        await settle()
        assert keeper.current() == key("b", 9000)

    play(story, key("a", 4600), key("b", 9000))


def test_short_lived_credentials_are_refreshed_in_their_last_third() -> None:
    async def story(keeper: CredentialKeeper, source: Source, clock: Clock) -> None:
        clock.now += 199
        keeper.current()
        await settle()
        assert len(source.asked) == 1
        clock.now += 2
        keeper.current()
        await settle()
        assert len(source.asked) == 2

    play(story, key("a", 1300), key("b", 1600))


def test_a_source_that_refreshes_by_itself_is_asked_every_minute() -> None:
    async def story(keeper: CredentialKeeper, source: Source, clock: Clock) -> None:
        for minute in range(1, 4):
            clock.now = 1000 + 60 * minute
            keeper.current()
            await settle()
            assert len(source.asked) == 1 + minute

    play(story, *[key("a")] * 4, self_refreshing=True)


def test_a_failed_refresh_keeps_what_works_says_so_and_is_tried_again() -> None:
    async def story(keeper: CredentialKeeper, source: Source, clock: Clock) -> None:
        clock.now = 4000
        assert keeper.current() == key("a", 4600)
        await settle()
        assert repr(keeper.failure) == "OSError('no route')"
        assert keeper.current() == key("a", 4600)
        clock.now += 9
        keeper.current()
        await settle()
        assert len(source.asked) == 2
        clock.now += 1
        keeper.current()
        await settle()
        assert keeper.current() == key("b", 9000)
        assert keeper.failure is None

    play(story, key("a", 4600), OSError("no route"), key("b", 9000))


def test_expired_credentials_are_waited_for_and_their_lack_is_an_error() -> None:
    async def story(keeper: CredentialKeeper, _: Source, clock: Clock) -> None:
        clock.now = 4600
        assert keeper.current() is None
        with pytest.raises(SqsError) as failed:
            await keeper.renewed()
        assert (failed.value.verdict, failed.value.code) == (Verdict.CREDENTIALS, "CredentialsExpired")
        assert failed.value.message == (
            "the AWS credentials have expired and could not be refreshed from <source>: OSError: no route"
        )
        clock.now += 10
        assert keeper.current() is None
        assert await keeper.renewed() == key("b", 9000)

    play(story, key("a", 4600), OSError("no route"), key("b", 9000))


def test_refused_credentials_are_fetched_again_at_most_every_ten_seconds() -> None:
    async def story(keeper: CredentialKeeper, source: Source, clock: Clock) -> None:
        keeper.reject(key("a"))
        assert keeper.current() is None
        assert await keeper.renewed() == key("b")
        assert source.asked == [False, True]
        keeper.reject(key("a"))
        assert keeper.current() == key("b")
        keeper.reject(key("b"))
        assert keeper.current() == key("b")
        clock.now += 10
        keeper.reject(key("b"))
        assert keeper.current() is None
        assert await keeper.renewed() == key("b")
        assert source.asked == [False, True, True]

    play(story, key("a"), key("b"), key("b"))


def test_refused_credentials_that_cannot_be_renewed_are_used_again() -> None:
    async def story(keeper: CredentialKeeper, _: Source, __: Clock) -> None:
        keeper.reject(key("a"))
        assert keeper.current() is None
        assert await keeper.renewed() == key("a")
        assert keeper.current() == key("a")

    play(story, key("a"), OSError("no route"))


class Stubborn:
    """A source that answers once, and then swallows every cancellation until it is told to end."""

    self_refreshing = False

    def __init__(self) -> None:
        self.asked = 0
        self.over = asyncio.Event()

    async def fetch(self, *, renew: bool) -> Credentials:
        self.asked += 1
        while self.asked > 1 and not self.over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.over.wait()
        return key("a", 4600)


@virtual
async def test_a_source_that_swallows_its_cancellation_is_asked_again_after_a_minute() -> None:
    clock, source = Clock(), Stubborn()
    keeper = CredentialKeeper(source, clock=clock)
    await keeper.start()
    clock.now = 4600
    assert keeper.current() is None
    await asyncio.sleep(61)
    assert repr(keeper.failure) == "TimeoutError('no answer in 60 s')"
    clock.now += 10
    assert keeper.current() is None
    await asyncio.sleep(1)
    assert source.asked == 3
    keeper.close()
    source.over.set()


@virtual
async def test_a_start_can_be_given_up_while_its_source_swallows_cancellations() -> None:
    """L22: a stop while starting ends at once."""
    source = Stubborn()
    source.asked = 1
    starting = asyncio.create_task(CredentialKeeper(source, clock=Clock()).start())
    await asyncio.sleep(1)
    starting.cancel()
    await asyncio.wait((starting,), timeout=1)
    assert starting.cancelled()
    source.over.set()


@pytest.mark.parametrize("error", [OSError("no route"), CredentialsMissing("none here")])
def test_without_any_credentials_there_is_no_start(error: Exception) -> None:
    async def story() -> None:
        with pytest.raises(CredentialsMissing, match=r"no route|none here"):
            await CredentialKeeper(Source(error)).start()

    asyncio.run(story())


class TestProvider:
    """A user's own function."""

    def test_a_plain_function_runs_in_a_separate_thread(self) -> None:
        threads: list[threading.Thread] = []

        def provider() -> Credentials:
            threads.append(threading.current_thread())
            return key("a")

        assert asyncio.run(FromProvider(provider).fetch(renew=False)) == key("a")
        assert threads[0] is not threading.main_thread()
        assert threads[0].daemon

    def test_an_async_function_runs_on_the_loop(self) -> None:
        async def provider() -> Credentials:
            await asyncio.sleep(0)
            assert threading.current_thread() is threading.main_thread()
            return key("a")

        assert asyncio.run(FromProvider(provider).fetch(renew=False)) == key("a")

    def test_its_errors_are_handed_on(self) -> None:
        def provider() -> Credentials:
            raise LookupError("vault is sealed")

        with pytest.raises(LookupError, match="vault is sealed"):
            asyncio.run(FromProvider(provider).fetch(renew=False))

    def test_an_answer_of_another_kind_is_refused(self) -> None:
        provider: Any = lambda: ("key", "secret")  # noqa: E731
        with pytest.raises(CredentialsMissing, match=r"returned tuple: it must return leasekeeper\.api\.Credentials"):
            asyncio.run(FromProvider(provider).fetch(renew=False))


class TestChain:
    """botocore's chain."""

    @pytest.mark.usefixtures("bare_aws")
    def test_the_environment_comes_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKENV")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "t")
        source = FromBotocore(lambda: new_session(ClientSettings()))
        found = asyncio.run(source.fetch(renew=False))
        assert found == Credentials(access_key="AKENV", secret_key="s", token="t")

    def test_a_profile_is_read_and_read_again_when_its_keys_were_refused(self, bare_aws: Path) -> None:
        def write(name: str) -> None:
            (bare_aws / "credentials").write_text(f"[team]\naws_access_key_id={name}\naws_secret_access_key=s\n")

        async def story() -> None:
            source = FromBotocore(lambda: new_session(ClientSettings(profile="team")))
            write("OLD")
            assert (await source.fetch(renew=False)).access_key == "OLD"
            write("NEW")
            assert (await source.fetch(renew=False)).access_key == "OLD"
            assert (await source.fetch(renew=True)).access_key == "NEW"

        asyncio.run(story())

    @pytest.mark.usefixtures("bare_aws")
    def test_nothing_anywhere_says_where_we_looked(self) -> None:
        source = FromBotocore(lambda: new_session(ClientSettings()))
        with pytest.raises(CredentialsMissing) as missing:
            asyncio.run(source.fetch(renew=False))
        for place in ("AWS_ACCESS_KEY_ID", "~/.aws/credentials", "AWS_WEB_IDENTITY_TOKEN_FILE", "ECS", "EC2"):
            assert place in str(missing.value)

    @pytest.mark.usefixtures("bare_aws")
    def test_a_server_on_this_machine_is_shown_made_up_ones(self, one_kit: Any) -> None:
        async def story(client: Any, script: Any) -> None:
            await client.delete("q", "r")
            assert "Credential=local/" in script.asked[0].headers["authorization"]

        one_kit.play(story, credentials=None)

    @pytest.mark.usefixtures("bare_aws")
    def test_a_server_elsewhere_is_not(self, one_kit: Any) -> None:
        with pytest.raises(CredentialsMissing, match="For a local SQS any will do"):
            asyncio.run(one_kit.connect("http://sqs.example.invalid:9324", credentials=None))


@pytest.mark.parametrize("value", ["", "a b", "a\n", "a\r\nX-Evil: 1", "\u00e4"])
@pytest.mark.parametrize("name", ["access_key", "secret_key", "token"])
def test_keys_that_cannot_be_right_are_refused_and_not_shown(name: str, value: str) -> None:
    """They become headers, and a line break in one would end it."""
    keys: dict[str, Any] = {"access_key": "AK", "secret_key": "s", "token": "t", name: value}
    with pytest.raises(CredentialsMissing, match=f"the AWS {name} is empty, or has a blank, a line break") as refused:
        Credentials(**keys)
    assert "X-Evil" not in str(refused.value)


def test_fixed_credentials_show_only_their_id() -> None:
    assert str(Fixed(key("AK"))) == "the fixed credentials AK"
