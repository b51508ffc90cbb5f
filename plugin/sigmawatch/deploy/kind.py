"""What a kind of artifact has to know: how one cluster API reads, writes and deletes its bodies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sigmawatch.artifact import ArtifactKey, content_hash
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from sigmawatch.artifact import Artifact
    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["Body", "ChangedMeanwhile", "Kind", "Retirement", "Trial", "Write"]

Body = dict[str, Any]


class ChangedMeanwhile(ClusterError):
    """Somebody else changed an artifact between our look and our write, so it was left as it is."""

    def __init__(self, key: ArtifactKey) -> None:
        super().__init__(
            f"{key} was changed by somebody else meanwhile, and was left as it is",
            hint="Plan again and look at the difference.",
        )


@dataclass(frozen=True)
class Write:
    """One body to be written, and what it may replace."""

    id: str
    body: Body
    """As it is sent: marked, with secrets."""
    may_replace: Callable[[Body | None], bool] | None = None
    """Says of what is live (None: nothing is) whether it may be replaced: what the plan was made for, or what it makes
    of it (an earlier request of ours that arrived late). None: whatever is there."""
    is_new: bool = False
    """Nothing was there when the plan was made."""


@dataclass(frozen=True)
class Trial:
    """What trying an artifact showed."""

    problem: str
    """Why it does not work, or why it could not be tried."""
    allowed: bool = True
    """False: our login may not try it, which says nothing about the artifact."""


@dataclass(frozen=True)
class Retirement:
    """What becomes of an artifact that leaves its pack and that others put work into."""

    body: Body | None
    """What it shall be, without marks; None: it stays as it is."""
    reason: str
    lost: str = ""
    """What is lost when it is deleted all the same, because the whole pack goes."""


class Kind(ABC):
    """One cluster API for named bodies. Stateless: the planner and applier share one instance.

    Bodies go in as `Artifact.body` and come out of `read_all` as the server returns them; the planner
    compares them after `normalise`.
    """

    name: ClassVar[str]
    """As in `Artifact.kind`."""
    rank: ClassVar[int]
    """Order among artifacts that do not depend on each other: lower is written first and deleted last."""
    batch_size: ClassVar[int] = 1
    """How many artifacts `write_batch` takes at once."""
    updatable: ClassVar[bool] = True
    """False: created where it is absent, and then whatever it is is fine."""
    additive: ClassVar[bool] = False
    """True: it grows by itself, so that having more than we sent is neither drift nor a change."""
    fluid: ClassVar[bool] = False
    """True: what it is about comes and goes by itself, so that another body than was planned for is nobody's change."""
    deletable: ClassVar[bool] = True
    """False: holds data, so it outlives its artifact unless its data is to go, too."""

    authored: ClassVar[bool] = True
    """False: only ever compiled, so that a pack cannot bring a body of its own."""

    spaced: ClassVar[bool] = False
    """True: in Kibana, so that ids begin with a space and a slash."""
    detects: ClassVar[bool] = False
    """True: what rules become. Kept while rules do not compile, since nobody knows which of them it is."""

    def concerns(self, cluster: Cluster, artifact_id: str) -> bool:
        """Return whether a deploy to this cluster is about an artifact; what is in another space is left alone."""
        kibana = cluster.settings.kibana
        return not self.spaced or kibana is None or artifact_id.partition("/")[0] == kibana.space

    @abstractmethod
    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Return the bodies of those ids that exist, in as few requests as the API allows.

        Raises ClusterError; TargetUnavailable when the cluster has no such API.
        """

    def read(self, cluster: Cluster, artifact_id: str) -> Body | None:
        """Return one body, None where there is none. Raises ClusterError."""
        return self.read_all(cluster, [artifact_id]).get(artifact_id)

    @abstractmethod
    def write(self, cluster: Cluster, one: Write) -> None:
        """Create or replace one, unless it is no longer what may be replaced.

        By the means that the API has for that, else after a look (`look`) right before. Raises ChangedMeanwhile,
        ClusterError.
        """

    def look(self, cluster: Cluster, one: Write) -> Body | None:
        """Read what a write replaces, right before it, and return it; None where anything may be replaced.

        Raises ChangedMeanwhile, ClusterError.
        """
        if one.may_replace is None:
            return None
        live = self.read(cluster, one.id)
        self.require_basis(one, live)
        return live

    def require_basis(self, one: Write, live: Body | None) -> None:
        """Raise ChangedMeanwhile when what is live is not what may be replaced.

        What has the marks of the write itself is: an earlier request of ours, of which the answer got lost.
        """
        if one.may_replace is None or one.may_replace(live):
            return
        marks = {} if live is None else self.marks_of(live)
        if not marks.get("hash") or marks != self.marks_of(one.body):
            raise ChangedMeanwhile(ArtifactKey(self.name, one.id))

    def hash_of(self, live: Body | None) -> str:
        """Return the hash by which a body that was read is compared."""
        return "" if live is None else content_hash(self.normalise(live))

    @abstractmethod
    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete one, with the data in it; that it is gone already is fine. Raises ClusterError."""

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return which of those ids cannot go, and why: something that is not `going` as well needs them.

        Raises ClusterError.
        """
        del cluster, ids, going
        return {}

    @abstractmethod
    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return a copy in the form in which two bodies compare.

        Takes out what servers add or reshape, and our marks. Works on both what we send and what is read.
        """

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Return a copy that says who owns it, where the API has a place for that; here: nowhere."""
        del marks, info
        return dict(body)

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks that `mark` put into a body; empty where there are none."""
        del body
        return {}

    def claims(self, body: Mapping[str, Any]) -> frozenset[str]:
        """Return what becomes ours by sending a body, where people work on the same one; here: nothing to remember."""
        del body
        return frozenset()

    def ours(self, live: Mapping[str, Any], claims: Collection[str]) -> Body:
        """Return what of a live body is ours, normalised: its change is drift. Here: all of it.

        `claims`: what was sent, as `claims` said of it.
        """
        del claims
        return self.normalise(live)

    def compared(
        self, live: Mapping[str, Any], wanted: Mapping[str, Any], claims: Collection[str]
    ) -> tuple[Body, Body]:
        """Return a live body and a wanted one as they compare, without what others keep of the live one."""
        return self.ours(live, claims), self.normalise(wanted)

    def told(self, body: Mapping[str, Any], claims: Collection[str]) -> Body:
        """Return a body that tells `write` what of the live one was ours until now, where that matters."""
        del claims
        return dict(body)

    def retirement(self, live: Mapping[str, Any], claims: Collection[str]) -> Retirement | None:
        """Return what becomes of one that leaves its pack; None: it is deleted."""
        del live, claims
        return None

    def prove(
        self,
        cluster: Cluster,
        artifacts: Sequence[Artifact],
        samples: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> Mapping[str, Trial]:
        """Try artifacts that were just written, without any effect; return by id those that do not work.

        `samples`: documents for ingest pipelines, by their ids. Here: nothing can be tried. Raises ClusterError.
        """
        del cluster, artifacts, samples
        return {}

    def prepare(self, cluster: Cluster) -> None:  # noqa: B027  # most kinds need nothing
        """Make ready for writes, once before each group of them. Raises ClusterError."""

    def write_batch(self, cluster: Cluster, batch: Sequence[Write]) -> Mapping[str, ClusterError]:
        """Write up to `batch_size` artifacts, each as `write` does; return the errors by id."""
        errors: dict[str, ClusterError] = {}
        for one in batch:
            try:
                self.write(cluster, one)
            except ClusterError as error:
                errors[one.id] = error
        return errors
