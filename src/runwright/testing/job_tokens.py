"""The tokens of the fake of a `JobStore`."""

from datetime import datetime

from msgspec import structs

from runwright.core.errors import ConflictError, StoreError
from runwright.core.job_rows import TokenRole, TokenRow
from runwright.core.job_texts import no_token_text, token_is_there_text


class MemoryTokens:
    """Keeps tokens in this process, until it is closed."""

    def __init__(self) -> None:
        self._tokens: list[TokenRow] = []
        self._closed = False

    async def add_token(self, name: str, role: TokenRole, digest: bytes, now: datetime) -> TokenRow:
        """Keep a token; see `JobStore`."""
        self._check_open()
        if any(token.name == name and token.revoked_at is None for token in self._tokens):
            raise ConflictError(token_is_there_text(name))
        token = TokenRow(id=len(self._tokens) + 1, name=name, role=role, created_at=now, digest=digest)
        self._tokens.append(token)
        return token

    async def token(self, digest: bytes) -> TokenRow | None:
        """Return a token; see `JobStore`."""
        self._check_open()
        return next((token for token in self._tokens if token.digest == digest), None)

    async def tokens(self) -> list[TokenRow]:
        """Return every token; see `JobStore`."""
        self._check_open()
        return list(self._tokens)

    async def revoke_token(self, name: str, now: datetime) -> TokenRow:
        """End a token; see `JobStore`."""
        self._check_open()
        for place in reversed(range(len(self._tokens))):
            token = self._tokens[place]
            if token.name == name:
                if token.revoked_at is None:
                    self._tokens[place] = structs.replace(token, revoked_at=now)
                return self._tokens[place]
        raise StoreError(no_token_text(name))

    async def close(self) -> None:
        """Refuse every later call."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store has been closed")
