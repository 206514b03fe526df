"""What a carry refuses: another version, twin, log or place, and bytes that are not what was written."""

import numpy as np
import pytest

from tests.oracle.lives import PARTITIONS, T0, WINDOW, Life, live, steps
from twin.carry import CarryHeader, carry_header, decode_carry, encode_carry
from twin.dispatcher import Dispatcher
from twin.errors import ConfigError, StoreError, TwinBug
from twin.mirror import Mirror
from twin.packed import Packed, pack, pack_columns, pack_used, unpack, unpack_columns, unpack_rows, unpack_used


def followed(life: Life, windows: int) -> Mirror:
    mirror = Mirror(PARTITIONS)
    for n, step in enumerate(steps(life.cuts())):
        if n < windows:
            for cut in step.cuts:
                mirror.apply(cut)
    return mirror


def story(*kinds: int) -> Life:
    """Three windows; in the first happens what ``kinds`` say."""
    return live("price", [[(kind, 1, kind) for kind in kinds], [], []], [60] * 3)


LIFE = story(6, 7, 12, 13)


def decided() -> Dispatcher:
    dispatcher = Dispatcher(PARTITIONS, seed=7)
    dispatcher.mirror = followed(LIFE, 1)
    dispatcher.decide(T0 + WINDOW, (), window_ms=WINDOW, lateness_ms=0, solve_clock=lambda: 0.0)
    return dispatcher


@pytest.fixture(scope="module")
def carry() -> bytes:
    return decided().carry()


def changed(carry: bytes, **header: object) -> bytes:
    known, body = decode_carry(carry)
    fields = {name: getattr(known, name) for name in CarryHeader.__struct_fields__}
    return encode_carry(CarryHeader(**(fields | header)), body)


def restore(carry: bytes, mirror: Mirror, seed: int = 7) -> Dispatcher:
    return Dispatcher.restore(PARTITIONS, mirror, carry, seed=seed)


def test_a_header_says_what_the_carry_is_of(carry: bytes) -> None:
    header = carry_header(carry)
    assert (header.window, header.seed) == (T0 + WINDOW, 7)
    assert header.serials == {(topic, p): 0 for topic, n in PARTITIONS.items() for p in range(n)}
    assert header.state_sha256 == followed(LIFE, 1).state_sha256()


def test_equal_states_give_equal_bytes(carry: bytes) -> None:
    assert decided().carry() == restore(carry, followed(LIFE, 1)).carry() == carry


def test_there_is_no_carry_before_the_first_window() -> None:
    with pytest.raises(TwinBug, match="before the first window"):
        Dispatcher(PARTITIONS).carry()


def test_another_seed_is_refused(carry: bytes) -> None:
    with pytest.raises(ConfigError, match="made with seed 7, not 8"):
        restore(carry, followed(LIFE, 1), seed=8)


def test_other_partitions_are_refused(carry: bytes) -> None:
    partitions = PARTITIONS | {"tasks": 3}
    with pytest.raises(ConfigError, match=r"other partitions \(tasks-2\)"):
        Dispatcher.restore(partitions, Mirror(partitions), carry, seed=7)


def test_a_mirror_that_stands_elsewhere_is_refused_by_its_shard(carry: bytes) -> None:
    with pytest.raises(TwinBug, match=r"^control-0 stands at \(next, serial\) \(6, 1\), the carry at \(5, 0\)"):
        restore(carry, followed(LIFE, 2))
    with pytest.raises(TwinBug, match=r"stands at \(next, serial\) \(0, -1\)"):
        restore(carry, Mirror(PARTITIONS))


def test_shards_that_hold_something_else_at_the_same_positions_are_refused(carry: bytes) -> None:
    with pytest.raises(ConfigError, match="the log was changed"):
        restore(carry, followed(story(6, 7, 12, 14), 1))


def test_what_was_restored_is_compared_with_what_was_carried(carry: bytes) -> None:
    with pytest.raises(TwinBug, match="restored to something else"):
        restore(changed(carry, carry_sha256="0" * 64), followed(LIFE, 1))


def test_a_carry_of_another_version_schema_or_shape_says_what_to_do(carry: bytes) -> None:
    for other in (b"", b"\x02" + carry[1:], changed(carry, schema=99)):
        with pytest.raises(ConfigError, match="empty the topic of carries"):
            carry_header(other)
    known, body = decode_carry(carry)
    for wrong in ({}, [1, 2]):
        with pytest.raises(ConfigError, match="another version"):
            decode_carry(encode_carry(known, wrong))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="another version"):
            decode_carry(encode_carry(wrong, body))  # type: ignore[arg-type]


def test_each_flipped_bit_is_found(carry: bytes) -> None:
    for at in [*range(1, 60), *range(60, len(carry), 37)]:
        spoilt = bytearray(carry)
        spoilt[at] ^= 1 << at % 8
        with pytest.raises(StoreError, match="damaged"):
            carry_header(bytes(spoilt))
    with pytest.raises(StoreError, match="damaged"):
        carry_header(carry[:-1])


# ------------------------------------------------------------------------------------------------------- arrays

ARRAYS = [
    np.arange(10),
    np.arange(6).reshape(3, 2) + 10**15,
    np.zeros(5, np.int64),
    np.zeros(0),
    np.zeros((0, 3)),
    np.zeros(0, np.int64),
    np.array([-5, 250]),
    np.array([-5, 251]),
    np.array([0, 2**16 - 1]),
    np.array([0, 2**16]),
    np.array([2**32, 2**33]),
    np.array([-(2**63), 2**63 - 1]),
    np.array([7, 7]),
    np.array([1.5, np.nan, -0.0, np.inf]),
    np.array([True, False]),
    np.zeros(3, np.uint8),
    np.repeat(np.arange(40), 1000) * 10**9,
    np.random.default_rng(1).integers(-(2**62), 2**62, 100_000),
    np.random.default_rng(1).random(100_000),
]


@pytest.mark.parametrize("array", ARRAYS, ids=range(len(ARRAYS)))
def test_an_array_comes_back_to_the_bit(array: np.ndarray) -> None:
    back = unpack(pack(array), array.dtype)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable


def test_what_says_little_takes_little_room() -> None:
    assert len(pack(np.full(100_000, 2**40)).data) == 0
    assert len(pack(2**40 + np.arange(100_000) % 200).data) < 100_000
    assert len(pack(np.repeat(np.random.default_rng(1).random(10), 10_000)).data) < 20_000


def test_another_dtype_than_expected_is_another_version() -> None:
    with pytest.raises(ConfigError, match="holds <f8 instead of <i8"):
        unpack(pack(np.zeros(2)), np.int64)


def test_columns_that_are_not_those_expected_are_another_version() -> None:
    dtype = np.dtype([("a", "<i8"), ("b", "<i8", (2,))])
    rows = np.zeros(3, dtype)
    rows["a"], rows["b"] = [1, 2, 3], [[1, 2], [3, 4], [5, 6]]
    packed = pack_columns(rows)
    assert (unpack_rows(packed, dtype) == rows).all()
    expected = {name: dtype[name] for name in ("a", "b")}
    others: list[dict[str, Packed]] = [
        {"a": packed["a"]},
        {"b": packed["b"], "a": packed["a"]},
        {"a": packed["a"], "b": packed["a"]},
        {"a": pack(np.arange(4)), "b": packed["b"]},
    ]
    for other in others:
        with pytest.raises(ConfigError, match="another version"):
            unpack_columns(other, expected)


def test_rows_of_zeros_are_left_out_and_have_to_fit() -> None:
    used = [np.array([False, True, False]), np.array([True, True, False, False])]
    sparse = pack_used(used, {"a": np.array([4, 5, 6])})
    assert sparse == pack_used([part[:2] for part in used], {"a": np.array([4, 5, 6])})
    expected = {"a": np.dtype(np.int64)}
    at, columns = unpack_used(sparse, [2, 9], expected)
    assert ([part.tolist() for part in at], columns["a"].tolist()) == ([[1], [0, 1]], [4, 5, 6])
    for sizes in ([1, 9], [2, 1], [2], [2, 9, 1]):
        with pytest.raises(ConfigError, match="do not fit"):
            unpack_used(sparse, sizes, expected)
    with pytest.raises(ConfigError, match="says where 3 rows are"):
        unpack_used(pack_used(used, {"a": np.array([4])}), [2, 9], expected)
