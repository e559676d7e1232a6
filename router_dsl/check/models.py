"""Models, their endpoints and pools of endpoints."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import structs

from router_dsl import ast
from router_dsl.check.props import Props, read
from router_dsl.check.quantity import number
from router_dsl.check.report import Report
from router_dsl.check.scope import Scope, text_of, usable_name
from router_dsl.fields import FEATURES
from router_dsl.plan import Endpoint, Model, Provider

MODEL_KEYWORDS = ("context", "output", "aka", "tags", "supports")
SERVE_KEYWORDS = ("price", "region", "context", "quantization", "zdr", "supports", "tags", "weight")


@dataclass(slots=True)
class Catalog:
    """What there is to route to.

    Attributes:
        by_model: Endpoint indices of each model; `by_pool`: of each pool; `by_provider`: of each provider.
        by_id: Endpoint index by (model, provider, label); `ids`: the endpoints' ids.
        places: The `serve` line of each endpoint.
    """

    providers: tuple[Provider, ...]
    endpoints: list[Endpoint] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    by_model: dict[str, tuple[int, ...]] = field(default_factory=dict)
    by_pool: dict[str, tuple[int, ...]] = field(default_factory=dict)
    by_provider: dict[str, list[int]] = field(default_factory=dict)
    by_id: dict[tuple[str, str, str | None], int] = field(default_factory=dict)
    places: list[ast.Serve] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)


def resolve(scope: Scope, providers: tuple[Provider, ...]) -> Catalog:
    """Return models and endpoints in the order written; pools are added by `targets`, which reads their members."""
    catalog = Catalog(providers, by_provider={provider.name: [] for provider in providers})
    index = {provider.name: i for i, provider in enumerate(providers)}
    aka: dict[str, list[str]] = {}
    for alias, name in scope.aka.items():
        aka.setdefault(name, []).append(alias)
    for node in scope.models.values():
        model = _model(node, scope, catalog, index)
        catalog.by_model[model.name] = model.endpoints
        catalog.models.append(structs.replace(model, aka=tuple(aka.get(model.name, ()))))
    return catalog


@dataclass(frozen=True, slots=True)
class _Common:
    """What a model says for all its endpoints."""

    name: str
    context: int | None
    output: int | None
    supports: tuple[str, ...] | None
    tags: tuple[str, ...]


def _model(node: ast.Model, scope: Scope, catalog: Catalog, index: dict[str, int]) -> Model:
    report, name = scope.report, node.name.text
    props = read(f"model `{name}`", node.props, MODEL_KEYWORDS, report)
    context, output = props.whole("context", "tokens"), props.whole("output", "tokens")
    common = _Common(name, context, output, _supports(props), props.texts("tags"))
    first = len(catalog.endpoints)
    for serve in node.serves:
        id = _identity(common, serve, scope, catalog)
        if id is not None:
            catalog.places.append(serve)
            catalog.endpoints.append(_endpoint(id, common, serve, catalog.providers, index, report))
    if not node.serves and not report.lost(node, "serve"):
        report.add("E405", f"model `{name}` is served nowhere", node.name.span, 'write `serve PROVIDER "upstream id"`')
    return Model(name, (), context, output, tuple(range(first, len(catalog.endpoints))))


def _identity(model: _Common, serve: ast.Serve, scope: Scope, catalog: Catalog) -> str | None:
    """Return the id of a new endpoint and enter it, or None after reporting."""
    report, provider = scope.report, serve.provider.text
    if provider not in catalog.by_provider:
        help = f'declare it with `provider {provider} {{ url "…" }}`'
        report.unknown("E205", "provider", provider, serve.provider.span, catalog.by_provider, help)
        return None
    scope.use("provider", provider)
    label = serve.label.text if serve.label else None
    if serve.label is not None:
        usable_name(serve.label.text, serve.label, report)
    id = f"{model.name}@{provider}" if label is None else f"{model.name}@{provider}/{label}"
    if id in catalog.ids:
        report.add(
            "E201",
            f"endpoint `{id}` is declared twice",
            serve.provider.span,
            f"tell them apart: `serve {provider} as NAME`",
        )
        return None
    catalog.ids.add(id)
    catalog.by_id[model.name, provider, label] = len(catalog.endpoints)
    catalog.by_provider[provider].append(len(catalog.endpoints))
    return id


def _endpoint(
    id: str, model: _Common, serve: ast.Serve, providers: tuple[Provider, ...], index: dict[str, int], report: Report
) -> Endpoint:
    props = read(f"endpoint `{id}`", serve.props, SERVE_KEYWORDS, report)
    at = providers[index[serve.provider.text]]
    prices, supports = _prices(props), _supports(props)
    weight = props.number("weight", "number", low=0)
    if not serve.upstream.value:
        report.add(
            "E405", f"endpoint `{id}` has no upstream id", serve.upstream.span, "say what the provider calls the model"
        )
    return Endpoint(
        id=id,
        model=model.name,
        provider=index[serve.provider.text],
        label=serve.label.text if serve.label else None,
        upstream=serve.upstream.value,
        price_in=prices[0],
        price_out=prices[1],
        price_cached=prices[2],
        region=props.text("region") or at.region,
        context=props.whole("context", "tokens") or model.context,
        output=model.output,
        quantization=props.text("quantization"),
        zdr=_flag(props, "zdr"),
        supports=model.supports if supports is None else supports,
        tags=tuple(dict.fromkeys((*at.tags, *model.tags, *props.texts("tags")))),
        weight=1.0 if weight is None else float(weight),
    )


def _supports(props: Props) -> tuple[str, ...] | None:
    prop = props.node("supports")
    if prop is None:
        return None
    for node in prop.values:
        word = text_of(node)
        near = None if word is None or word in FEATURES else props.report.near(word, FEATURES)
        if near:
            props.report.add("W510", f"unknown feature `{word}`", node.span, f"did you mean `{near}`?")
    return props.texts("supports")


def _prices(props: Props) -> tuple[int | None, int | None, int | None]:
    prop = props.node("price")
    if prop is None:
        return None, None, None
    numbers = [value for value in prop.values if isinstance(value, ast.Number)]
    if len(numbers) not in (2, 3):
        props.report.add("E406", f"`price` of {props.owner} takes two or three prices", prop.span, _PRICE)
        return None, None, None
    found = [number(node, "money", "`price`", props.report, low=0) for node in numbers]
    whole = [None if price is None else int(price) for price in found]
    return whole[0], whole[1], whole[2] if len(whole) == 3 else None


_PRICE = "write `price $0.90 in $0.90 out`, and perhaps `$0.45 cached`; dollars per million tokens"


def _flag(props: Props, keyword: str) -> bool:
    prop = props.node(keyword)
    if prop is not None and prop.values:
        props.report.add("E406", f"`{keyword}` of {props.owner} takes nothing", prop.span)
    return prop is not None
