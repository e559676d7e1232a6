"""Which models and which policy a client named: `model`, `models`, `preset`, and the variants behind a colon.

`@NAME` and `@preset/NAME` name a policy, alone or behind a model (`small@preset/NAME`). `:floor`, `:nitro` and `:free`
behind a model say how to choose among its endpoints. A name that the policy declares stands for itself, whatever it
looks like.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from runtime.wire.errors import Problem, bad_request, printable
from runtime.wire.request import Body

Variant = Literal["floor", "nitro", "free"]

VARIANTS: dict[str, Variant] = {"floor": "floor", "nitro": "nitro", "free": "free"}

UNSUPPORTED = {
    "exacto": "this router does not rate providers by their tool calls",
    "online": "this router does not search the web",
    "thinking": "ask with `reasoning`",
    "extended": "name a model with a longer context",
}
"""OpenRouter's other variants, each with the reason why it is refused."""

PRESET = "@preset/"

IsKnown = Callable[[str], bool]
"""Whether the policy declares a model of that name."""


class WishError(Exception):
    """A client wishes for something that cannot be; the problem says what."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Named(msgspec.Struct, frozen=True):
    """What a client named.

    Attributes:
        models: In the order to try them, each once; none when it named only a policy.
        policy: Else None.
        variant: Behind any of the models, or None.
    """

    models: tuple[str, ...]
    policy: str | None = None
    variant: Variant | None = None


def is_plain(body: Body) -> bool:
    """Whether a body names nothing but one model, as most do."""
    return body.models is None and body.preset is None and ":" not in body.model and "@" not in body.model


def named(body: Body, is_known: IsKnown) -> Named:
    """Return what a body names.

    Raises:
        WishError: A variant that is not supported, or names that contradict each other.
    """
    if is_plain(body):
        return Named((body.model,))
    model, variant, policy = _taken_apart(body.model, is_known)
    if body.preset:
        if policy not in (None, body.preset):
            raise _contradiction(
                f"`preset` names `{printable(body.preset)}`, and `model` names another policy", "preset"
            )
        policy = body.preset
    models = [model] if model else []
    for place, text in enumerate(body.models or ()):
        more, its_variant, its_policy = _taken_apart(text, is_known)
        where = f"models[{place}]"
        if its_policy is not None and its_policy != policy:
            raise _contradiction("a policy is named by `model`, not by `models`", where)
        if its_variant is not None:
            if variant not in (None, its_variant):
                raise _contradiction(
                    f"`:{its_variant}` contradicts `:{variant}`: one variant holds for all models", where
                )
            variant = its_variant
        if more:
            models.append(more)
    return Named(tuple(dict.fromkeys(models)), policy, variant)


def first_model(body: Body, is_known: IsKnown) -> str:
    """Return the model that decides, by its plain name; `@NAME` when only a policy is named."""
    if is_plain(body):
        return body.model
    try:
        found = named(body, is_known)
    except WishError:
        return body.model
    return found.models[0] if found.models else body.model


def _taken_apart(text: str, is_known: IsKnown) -> tuple[str, Variant | None, str | None]:
    """Return model, variant and policy of one name."""
    if is_known(text):
        return text, None, None
    model, preset, policy = text.partition(PRESET)
    if not preset and text.startswith("@"):
        return "", None, text[1:]
    if preset and not policy:
        raise _contradiction(f"`{PRESET}` must be followed by the name of a policy", "model")
    base, colon, word = model.rpartition(":")
    if colon and not is_known(model):
        if word in UNSUPPORTED:
            message = f"the variant `:{word}` is not supported: {UNSUPPORTED[word]}"
            raise WishError(bad_request(message, "model", "unsupported_parameter"))
        if word in VARIANTS:
            return base, VARIANTS[word], policy or None
    return model, None, policy or None


def _contradiction(message: str, param: str) -> WishError:
    return WishError(bad_request(message, param, "invalid_value"))
