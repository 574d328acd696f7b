"""What a call may use, said before it is sent."""

from dataclasses import dataclass

from accounting.usage import Quantities


@dataclass(frozen=True, slots=True)
class Exposure:
    """Tokens that a call likely uses, and what bounds them.

    `output_tokens` are likely exceeded by one answer in twenty, and `is_learned` says whether that is by answers of the
    same model. `max_tokens` is what the request itself bounds its answer to, None where it does not. `choices` is how
    many answers it asks for: the figures of output are of one of them. `most_input_tokens` is None where the request's
    bytes don't bound its input. `unbounded` says, for people, what else in the request can cost any amount,
    a sentence each.

    Only what the call costs at most depends on `longest`, the largest of the bounds that the request gives an answer by
    any name, and on `loose`, which says why an answer may be longer than they allow; empty where it may not.
    """

    input_tokens: int
    output_tokens: int
    is_learned: bool
    most_input_tokens: int | None
    max_tokens: int | None
    choices: int = 1
    images: int = 0
    unbounded: tuple[str, ...] = ()
    longest: int = 0
    loose: str = ""

    def likely(self, default: int | None = None) -> Quantities:
        """What a budget sets aside that is not strict.

        While nothing is known of the model's answers, that is as much as the request allows, else the default.
        """
        output = self.output_tokens
        if not self.is_learned:
            bounds = (self.max_tokens, default, output)
            output = next(bound for bound in bounds if bound is not None)
        return self._used(self.input_tokens, output)

    def most(self, default: int | None = None) -> Quantities | None:
        """The most that the call can use, answers without a bound that holds being no longer than the default, or than
        the request allows.

        None where nothing bounds it: see `reasons`.
        """
        if self.reasons(default) or self.most_input_tokens is None:
            return None
        beyond = 0 if self._unheld() is None else default or 0
        return self._used(self.most_input_tokens, max(self.max_tokens or 0, self.longest, beyond))

    def reasons(self, default: int | None = None) -> tuple[str, ...]:
        """Why nobody can say what the call costs at most, a sentence each; empty where somebody can."""
        unheld = self._unheld() if default is None else None
        return (*self.open_input(), unheld) if unheld else self.open_input()

    def open_input(self) -> tuple[str, ...]:
        """What of that no default for answers bounds."""
        memory = () if self.most_input_tokens is not None else ("its input is not in memory",)
        return (*self.unbounded, *memory)

    def _unheld(self) -> str | None:
        """Why the request's own bound does not hold its answer; None where it does."""
        return self.loose or ("it names no max_tokens" if self.max_tokens is None else None)

    def _used(self, input_tokens: int, output_tokens: int) -> Quantities:
        return Quantities(input=input_tokens, output=output_tokens * self.choices, requests=1, images=self.images)
