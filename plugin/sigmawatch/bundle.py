"""Everything the packs say, compiled for one cluster: the bundle that is planned and applied."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from sigmawatch.alerts.document import ALERTS, HEALTH, SHADOW
from sigmawatch.alerts.templates import alert_artifacts, alert_template_id
from sigmawatch.archive.artifacts import archive_artifacts
from sigmawatch.artifact import ArtifactKey
from sigmawatch.compile.cache import PlanCache, default_cache
from sigmawatch.compile.context import DEFAULT_INDICES, KEYWORD_FIELDS, Binding, CompileContext, Compiled
from sigmawatch.compile.files import compile_files
from sigmawatch.compile.plan import STAGES
from sigmawatch.config import Environment, dataset_settings, needing_only, tuned, untuned
from sigmawatch.datasets import (
    Dataset,
    DatasetSettings,
    EngineTraits,
    artifacts,
    base_artifacts,
    load_datasets,
    with_enrichments,
)
from sigmawatch.datasets.privacy import with_privacy
from sigmawatch.datasets.threat_intel import load_indicators, threat_intel_artifact
from sigmawatch.errors import ContentError, Problem, Severity, TargetUnavailable
from sigmawatch.pack.artifacts import load_artifacts
from sigmawatch.pack.layout import Pack, builtin_pack, rule_files
from sigmawatch.render.detection import detection_artifact
from sigmawatch.render.kibana import kibana_artifact
from sigmawatch.render.opensearch import monitor_artifact
from sigmawatch.render.refusal import RenderRefused
from sigmawatch.render.scripts import script_artifacts
from sigmawatch.render.target import Target
from sigmawatch.render.watch import watch_artifact
from sigmawatch.retention.artifacts import index_additions, kept, retention_artifacts
from sigmawatch.retention.values import RetentionTuning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from sigma.processing.pipeline import ProcessingPipeline

    from sigmawatch.artifact import Artifact
    from sigmawatch.cluster import Cluster, Features
    from sigmawatch.compile.plan import DetectionPlan
    from sigmawatch.deploy.kind import Kind
    from sigmawatch.render.kibana import RuleAction
    from sigmawatch.retention import Kept

__all__ = [
    "Bundle",
    "as_enriched",
    "bindings_of",
    "brought_artifacts",
    "build_bundle",
    "bundle_for",
    "choose_target",
    "compile_context",
    "compile_pack",
    "indicator_artifacts",
    "known_datasets",
    "of_tenant",
    "owner_of",
    "pack_datasets",
    "traits_of",
    "unmade_enrichments",
]


@dataclass(frozen=True)
class Bundle:
    """All artifacts for one cluster, and what was found wrong on the way."""

    target: Target
    artifacts: tuple[Artifact, ...]
    compiled: Compiled
    datasets: tuple[Dataset, ...] = field(default=(), repr=False)
    """Those that are deployed."""
    refused: Mapping[str, Problem] = field(default_factory=dict)
    """Rules that the target cannot express, by their ids, with the reason."""
    keeping: tuple[Kept, ...] = field(default=(), repr=False)
    """How long everything is kept."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Errors and warnings of the rules."""
        return (*self.compiled.problems, *self.refused.values())

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What costs rules their detections here."""
        return (*self.compiled.errors, *self.refused.values())

    @property
    def stages(self) -> dict[str, int]:
        """How many rules have each stage."""
        found = Counter(plan.rule.stage for plan in self.compiled.plans)
        return {stage: found[stage] for stage in STAGES if found[stage]}

    @property
    def spared(self) -> Callable[[ArtifactKey, Kind], str]:
        """What says of an artifact that the bundle lacks why it must not be deleted; nothing where it may.

        A rule that does not compile may have any id. So while there is one, every earlier detection stays.
        """
        broken = len(self.compiled.errors)

        def spare(key: ArtifactKey, kind: Kind) -> str:
            if not kind.detects:
                return ""
            if broken:
                return f"kept while the pack has {broken} error{'' if broken == 1 else 's'}"
            rule_id = key.id.partition("/")[2] if kind.spaced else key.id
            refused = self.refused.get(rule_id)
            return f"kept: {refused.message}" if refused is not None else ""

        return spare


KEYWORD_TEXTS = (
    "url.original",
    "user_agent.original",
    "http.request.referrer",
    "http.request.body.content",
    "process.command_line",
    "dns.question.name",
)
"""Where keywords are searched in datasets that keep no message: texts that somebody outside the log's maker wrote."""


def bindings_of(datasets: Iterable[Dataset]) -> tuple[Binding, ...]:
    """Return which log sources the datasets serve."""
    return tuple(
        Binding(dataset.name, dataset.index_pattern, logsource, where)
        for dataset in datasets
        for logsource, where in zip(dataset.logsources, dataset.scopes, strict=True)
    )


def compile_context(
    datasets: Sequence[Dataset],
    *,
    overrides: Mapping[str, str] | None = None,
    pipelines: tuple[ProcessingPipeline, ...] = (),
    keyword_fields: Iterable[str] = (),
    placeholders: Mapping[str, Sequence[str]] | None = None,
    root: Path | None = None,
    tenant: str = "",
) -> CompileContext:
    """Return what the compiler has to know of the datasets.

    `keyword_fields`: where keywords are searched besides `message`. `tenant`: whose events alone are searched.
    """
    return CompileContext(
        bindings_of(datasets),
        {dataset.name: dataset.fields for dataset in datasets},
        overrides or {},
        pipelines,
        keyword_fields=tuple(dict.fromkeys([*KEYWORD_FIELDS, *keyword_fields])),
        without_message={
            dataset.name: tuple(name for name in KEYWORD_TEXTS if name in dataset.fields)
            for dataset in datasets
            if dataset.body.message == "remove"
        },
        placeholders=placeholders or {},
        root=root,
        default_indices=f"{DEFAULT_INDICES}-{tenant}" if tenant else DEFAULT_INDICES,
    )


def compile_pack(
    pack: Pack,
    *,
    site: Environment | None = None,
    types: Mapping[str, str] | None = None,
    cache: PlanCache | None = None,
    keep_going: bool = False,
) -> tuple[Compiled, list[Dataset]]:
    """Load and compile a pack as a site wants it; return its own datasets, too, also those that are switched off.

    `keep_going`: the rules that compile are tuned even if others do not. `types`: mapping types that win over those of
    ECS and the datasets. Rules may be about built-in datasets as well.
    Raises ContentError for datasets that are invalid, and for what a site wants of them and cannot be; rules keep
    their problems.
    """
    site = site or Environment("")
    own = pack_datasets(pack)
    names = {one.name for one in own}
    known = known_datasets(own)
    settings = dataset_settings(site.datasets, known)
    known = as_enriched(site, known)
    own = [one for one in known if one.name in names]
    context = compile_context(
        known, overrides=types, placeholders=site.placeholders, root=pack.root, tenant=site.tenant
    )
    compiled = compile_files(rule_files([pack.rules, *site.exclusions]), context, cache=cache)
    if keep_going or not compiled.errors:
        plans, problems = tuned(compiled.plans, site.rules)
        said = untuned(compiled.plans, site.rules)
        compiled = replace(
            compiled, plans=tuple(plans), problems=(*compiled.problems, *problems), untuned=said
        )
        plans, problems = needing_only([one for one in known if not settings[one.name].enabled], compiled)
        compiled = replace(compiled, plans=tuple(plans), problems=(*compiled.problems, *problems))
    return (of_tenant(compiled, site.tenant) if site.tenant else compiled), own


def of_tenant(compiled: Compiled, tenant: str) -> Compiled:
    """Return the rules of one tenant, by ids of their own: what is kept by rule is then kept by tenant."""

    def renamed(plan: DetectionPlan) -> DetectionPlan:
        return replace(plan, rule=replace(plan.rule, id=f"{tenant}.{plan.rule.id}"))

    return replace(
        compiled,
        plans=tuple(map(renamed, compiled.plans)),
        places={f"{tenant}.{rule_id}": place for rule_id, place in compiled.places.items()},
    )


def as_enriched(site: Environment, datasets: Sequence[Dataset]) -> list[Dataset]:
    """Return datasets as a site has them: with the fields that it has added to their events, and whose they are.

    Raises ContentError for what a site wants of datasets and cannot be.
    """
    settings = dataset_settings(site.datasets, datasets)
    return [
        replace(
            with_privacy(
                with_enrichments(one, settings[one.name].build_options()), settings[one.name].privacy
            ),
            tenant=site.tenant,
        )
        for one in datasets
    ]


@cache
def _builtin_datasets() -> tuple[Dataset, ...]:
    """Return the datasets of the built-in pack, which does not change while we run: loading them takes a while."""
    return tuple(load_datasets(builtin_pack().ingest_pipelines))


def pack_datasets(pack: Pack) -> list[Dataset]:
    """Return the datasets of a pack. Raises ContentError for datasets that are invalid."""
    if pack.root == builtin_pack().root:
        return list(_builtin_datasets())
    return load_datasets(pack.ingest_pipelines)


def known_datasets(own: Iterable[Dataset]) -> list[Dataset]:
    """Return the built-in datasets and those of a pack, which win over built-in ones of the same name."""
    found = {dataset.name: dataset for dataset in _builtin_datasets()}
    found |= {dataset.name: dataset for dataset in own}
    return [found[name] for name in sorted(found)]


def choose_target(wanted: Target | None, features: Features) -> Target:
    """Return the target to render for: the one wanted, or the best that the cluster has.

    Raises TargetUnavailable when the wanted one needs what the cluster lacks; says what would do instead.
    """
    if wanted is None:
        return Target.WATCHER if features.has_watcher else Target.RUNNER
    needs = {Target.WATCHER: "watcher", Target.OPENSEARCH: "alerting"}
    lack = features.why_not(needs[wanted]) if wanted in needs else ""
    if lack:
        raise TargetUnavailable(
            f"target {wanted}: {lack}",
            hint="Use --target runner: `sigmawatch run` executes the same detections on any cluster.",
        )
    return wanted


def build_bundle(
    compiled: Compiled,
    datasets: Sequence[Dataset],
    *,
    target: Target,
    traits: EngineTraits,
    namespace: str = "default",
    settings: Mapping[str, DatasetSettings] | None = None,
    keeping: Sequence[Kept] = (),
    tenant: str = "",
    actions: Sequence[RuleAction] = (),
) -> Bundle:
    """Return the bundle of compiled rules and datasets for one cluster.

    `settings`: what a site wants of datasets, by their names. `keeping`: how long everything is kept; what it does
    not name is not looked after. `tenant`: whose rules, datasets and alerts they are. `actions`: whom rules of Kibana
    tell.
    """
    wanted = {dataset.name: (settings or {}).get(dataset.name, DatasetSettings()) for dataset in datasets}
    datasets = [dataset for dataset in datasets if wanted[dataset.name].enabled]
    by_what = {one.what: one for one in keeping}
    added = {what: index_additions(one) for what, one in by_what.items()}
    found: list[Artifact] = [*base_artifacts(traits)]
    for dataset in datasets:
        what = dataset.template_id
        mine = replace(wanted[dataset.name], template=added.get(what, {}))
        found += artifacts(dataset, namespace=namespace, traits=traits, settings=mine)
        if what in by_what:
            # Indices that are made meanwhile have it from their template: the others follow.
            needs = (
                ArtifactKey("index_template", what),
                ArtifactKey("data_stream", dataset.data_stream(namespace)),
            )
            found += retention_artifacts(by_what[what], needs=needs)
            found += archive_artifacts(dataset, by_what[what], traits=traits, privacy=mine.privacy)
    kept_as = {name: f"{name}-{tenant}" if tenant else name for name in ("alerts", "shadow", "health")}
    plain = {name: added.get(what, {}).get("settings", {}).get("index", {}) for name, what in kept_as.items()}
    found += alert_artifacts(**plain, tenant=tenant)
    templates = {
        name: ArtifactKey("index_template", alert_template_id(name, tenant))
        for name in (ALERTS, SHADOW, HEALTH)
    }
    for what, key in zip(kept_as.values(), templates.values(), strict=True):
        if what in by_what:
            found += retention_artifacts(by_what[what], needs=[key])
    found += script_artifacts(watcher=target is Target.WATCHER)
    here = {ArtifactKey("index_template", name): key for name, key in templates.items()}
    refused: dict[str, Problem] = {}
    for plan in compiled.plans:
        if plan.rule.stage == "test":
            continue
        try:
            detection = _detection(plan, target, namespace, actions)
            needed = tuple(here.get(key, key) for key in detection.depends_on)
            found.append(replace(detection, depends_on=needed))
        except RenderRefused as error:
            place = compiled.places.get(plan.rule.id)
            path, line = (place.path, place.detection) if place is not None else (None, None)
            refused[plan.rule.id] = Problem(error.message, path, line, error.hint, code="refused")
    return Bundle(target, tuple(found), compiled, tuple(datasets), refused, tuple(keeping))


def _detection(
    plan: DetectionPlan, target: Target, namespace: str, actions: Sequence[RuleAction]
) -> Artifact:
    """Return what a plan becomes for a target. Raises RenderRefused."""
    if target is Target.KIBANA:
        return kibana_artifact(plan, actions)
    if target is Target.OPENSEARCH:
        return monitor_artifact(plan)
    if target is Target.WATCHER:
        return watch_artifact(plan, namespace=namespace)
    return detection_artifact(plan, namespace=namespace)


def traits_of(features: Features) -> EngineTraits:
    """Return what mappings can be on a cluster."""
    return EngineTraits(
        flattened_type=features.flattened_type or "object",
        # OpenSearch has a wildcard type, but refuses rules with many patterns on it (its ngram clauses).
        has_wildcard=features.has_wildcard and features.flattened_type != "flat_object",
        has_match_only_text=features.has_match_only_text,
        has_constant_keyword=features.has_constant_keyword,
        has_scaled_float=features.has_scaled_float,
        has_data_streams=features.has_data_streams,
        lacks=frozenset(
            name
            for name, there in (
                ("geoip", features.has_geoip),
                ("asn", features.has_geoip),
                ("user_agent", features.has_user_agent),
            )
            if not there
        ),
    )


def bundle_for(
    cluster: Cluster,
    pack: Pack,
    *,
    target: Target | None,
    namespace: str,
    site: Environment | None = None,
    keep_going: bool = False,
) -> Bundle:
    """Return the bundle of a pack for a cluster, as a site wants it there.

    `keep_going`: rules that do not compile, or that the target cannot express, are left out instead of refused.
    Raises ContentError when any of the pack is invalid, TargetUnavailable when the cluster lacks what the
    target needs.
    """
    site = site or Environment("")
    types: Mapping[str, str] = {}
    if site.live_types is not None:
        # Commands that only look at files do not wait for the client to be imported.
        from sigmawatch.livetypes import live_types

        types = live_types(cluster, site.live_types).types
    compiled, datasets = compile_pack(
        pack, site=site, types=types, cache=default_cache(), keep_going=keep_going
    )
    if not keep_going:
        compiled.require()
    brought = brought_artifacts(pack)
    settings: Mapping[str, DatasetSettings] = dataset_settings(site.datasets, known_datasets(datasets))
    found, warnings = indicator_artifacts(site, [settings[one.name] for one in datasets])
    brought += found
    settings = with_key(site, settings, datasets)
    features = cluster.features()
    chosen = choose_target(target, features)
    if chosen is Target.KIBANA:
        cluster.kibana.require_detection_engine(cluster.kibana.space)
    problems = warnings + unmade_enrichments(datasets, settings, features)
    keeping = kept(
        [(one.name, one.template_id, one.index_pattern) for one in datasets if settings[one.name].enabled],
        tenant=site.tenant,
        site=site.retention,
        tunings={name: one.retention or RetentionTuning() for name, one in settings.items()},
        features=features,
    )
    bundle = build_bundle(
        replace(compiled, problems=(*compiled.problems, *problems)),
        datasets,
        target=chosen,
        traits=traits_of(features),
        namespace=namespace,
        settings=settings,
        keeping=keeping,
        tenant=site.tenant,
        actions=site.kibana.actions if site.kibana is not None else (),
    )
    if bundle.refused and not keep_going:
        raise ContentError(list(bundle.refused.values()))
    owner = owner_of(pack, site)
    return replace(bundle, artifacts=tuple(_placed(cluster, owner, [*bundle.artifacts, *brought])))


def owner_of(pack: Pack, site: Environment) -> str:
    """Return under which name a pack is deployed: for a tenant it is another one than for everybody."""
    return f"{pack.name}@{site.tenant}" if site.tenant else pack.name


def _placed(cluster: Cluster, owner: str, artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Return artifacts with those of Kibana in the space of the cluster's Kibana."""
    from sigmawatch.deploy.spaces import placed

    kibana = cluster.settings.kibana
    return placed(artifacts, space=kibana.space if kibana is not None else "", pack=owner)


def indicator_artifacts(
    site: Environment, settings: Iterable[DatasetSettings]
) -> tuple[list[Artifact], list[Problem]]:
    """Return what compares events with the indicators of a site, if any dataset wants that, and warnings about lists.

    Raises ContentError where no list is named, or one cannot be read.
    """
    if not any(one.enabled and one.makes("threat_intel") for one in settings):
        return [], []
    if not site.indicators:
        asking = [one for one in site.datasets.values() if one.enrich.get("threat_intel")]
        hint = "`threat_intel: {indicators: [FILE or FOLDER]}` in sigmawatch.yml"
        message = "threat_intel is switched on, and no indicators are named"
        raise ContentError([one.problem(message, "enrich.threat_intel", hint=hint) for one in asking])
    indicators, warnings = load_indicators(site.indicators)
    return [threat_intel_artifact(indicators, tenant=site.tenant)], warnings


def with_key(
    site: Environment, settings: Mapping[str, DatasetSettings], datasets: Iterable[Dataset]
) -> Mapping[str, DatasetSettings]:
    """Return settings with the id of the key that pseudonyms are made with. Raises UsageError where one is missing."""
    asking = [
        one.name for one in datasets if settings[one.name].enabled and settings[one.name].privacy.pseudonyms
    ]
    if not asking:
        return settings
    key = site.pseudonyms().id
    made = {
        name: replace(settings[name], privacy=replace(settings[name].privacy, key=key)) for name in asking
    }
    return {**settings, **made}


def unmade_enrichments(
    datasets: Iterable[Dataset], settings: Mapping[str, DatasetSettings], features: Features
) -> list[Problem]:
    """Return a warning for each enrichment that is switched on and that a cluster cannot make, with the reason."""
    found = []
    for name in sorted(traits_of(features).lacks):
        asking = [one.name for one in datasets if one.name in settings and settings[one.name].makes(name)]
        if asking:
            reason = features.why_not("geoip" if name == "asn" else name)
            which = ", ".join(asking[:5]) + (f" and {len(asking) - 5} more" if len(asking) > 5 else "")
            message = f"enrichment {name} is left out for {which}: {reason}"
            found.append(Problem(message, severity=Severity.WARNING, code="enrichment"))
    return found


def brought_artifacts(pack: Pack) -> list[Artifact]:
    """Return the artifacts that a pack brings as they are. Raises ContentError for what cannot be one."""
    # Kinds talk to clusters: commands that only look at files do not wait for that to be imported.
    from sigmawatch.deploy.kinds import all_kinds

    return load_artifacts(pack.root, [name for name, kind in all_kinds().items() if kind.authored])
