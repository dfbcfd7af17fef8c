"""Random access to the records of TFRecord files, within TensorFlow's graph.

A TFRecord file is a sequence of records: the length (8 bytes), its checksum (4), the content, its
checksum (4). TensorFlow's own reader begins at any byte where a record begins, and verifies both
checksums (masked CRC-32C). So a record is read in one piece, verified every time, and by operations
of TensorFlow alone, which a data service can carry to other hosts.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sassl_tf.datasets.dataset import for_each, on_host, os_bytes
from sassl_tf.datasets.left_out import MOST, too_many
from sassl_tf.datasets.shards import Places, Shard, check_can_be_opened
from sassl_tf.errors import FileError, UserError
from sassl_tf.paths import reading

HEADER, FOOTER = 12, 4  # bytes around the content of a record
FRAME = HEADER + FOOTER
SCANNED_AT_ONCE = 16  # shards
SCAN_BUFFER = 4 * 2**20  # bytes of each
FIRST_BUFFER = 2**18  # bytes
SHOWN_FROM = 2**30  # bytes: from here on, reading them all takes long enough for a progress bar
GZIP = b"\x1f\x8b"
# The errors of a wrong checksum, and of a file that ends where a record should begin.
DAMAGED = (tf.errors.DataLossError, tf.errors.InvalidArgumentError)
# The columns of what is found of a record.
OFFSET, LENGTH, LABEL, GOOD = range(4)
ROW = 4


def records_from(
    paths: Sequence[str] | tf.Tensor, begins: Any, buffer_size: int | tf.Tensor
) -> tf.data.Dataset:
    """Returns a dataset of the records of files, as strings, with their checksums verified.

    TensorFlow cannot write this dataset itself to a graph, only a function that has it inside: use
    it within the function of `map` or `interleave`, or take its single element.

    Args:
        paths: string [F].
        begins: int64 [F], the byte of each file at which reading begins, the begin of a record.
        buffer_size: how many bytes are read at a time.
    """
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=paths,
        compression_type="",
        buffer_size=tf.cast(buffer_size, tf.int64),
        byte_offsets=begins,
    )
    return tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))


class Records:
    """The good records of shards, read one by one or as runs of neighbours.

    What a graph captures of it takes 16 bytes a record, and no path but those of the shards.

    Args:
        shards: of TFRecord.
        places: the `Places` of each shard.
    """

    def __init__(self, shards: Sequence[Shard], places: Sequence[Places]) -> None:
        # A record's begin is counted from the begin of the first shard, as if all were one file.
        bases = np.cumsum([0, *(shard.size for shard in shards)])
        starts = [base + part.offsets[part.good] for base, part in zip(bases, places, strict=False)]
        lengths = [part.lengths[part.good] for part in places]
        self._paths = on_host(np.array([os_bytes(shard.path) for shard in shards], object))
        self._bases = on_host(bases)
        self._starts = on_host(np.concatenate(starts))
        self._lengths = on_host(np.concatenate(lengths))

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the content of a record as a string [].

        Args:
            index: int64 [], among the good records.

        Raises:
            tf.errors.OpError: it is not there any more, or a checksum is wrong.
        """
        start, length = tf.gather(self._starts, index), tf.gather(self._lengths, index)
        shard = self._shard(start)
        path, begin = tf.gather(self._paths, shard), start - tf.gather(self._bases, shard)
        # With a buffer of just its size, the record is one read.
        record = records_from([path], [begin], length + FRAME).take(1).get_single_element()
        return _checked(record, length)

    def read_run(self, indices: tf.Tensor) -> tf.Tensor:
        """Returns the contents of neighbouring records, string [W], by one read where possible.

        Where a bad record lies among them, or the last record is followed by the first one, each is
        read by itself.

        Args:
            indices: int64 [W], each but the first one more than that before it, or 0.
        """
        starts, lengths = tf.gather(self._starts, indices), tf.gather(self._lengths, indices)
        total = tf.reduce_sum(lengths + FRAME)
        neighbours = starts[-1] + lengths[-1] + FRAME - starts[0] == total
        return tf.cond(
            neighbours,
            lambda: self._read_at_once(starts, lengths, total),
            lambda: for_each(self.read, indices),
        )

    def _read_at_once(self, starts: tf.Tensor, lengths: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
        first, last = self._shard(starts[0]), self._shard(starts[-1])
        paths = self._paths[first : last + 1]
        # Of the shards after the first, reading begins with their first records.
        begins = tf.concat(
            [[starts[0] - tf.gather(self._bases, first)], tf.zeros([last - first], tf.int64)], 0
        )
        count = tf.size(starts, tf.int64)
        run = records_from(paths, begins, total).take(count).batch(count, drop_remainder=True)
        return _checked(tf.ensure_shape(run.get_single_element(), starts.shape), lengths)

    def _shard(self, start: tf.Tensor) -> tf.Tensor:
        return tf.searchsorted(self._bases, start[None], side="right")[0] - 1


# Finding the places of records.


def scan(shards: Sequence[Shard], label_of: Callable[[tf.Tensor], tf.Tensor]) -> list[Places]:
    """Reads whole shards, several at once, and returns the `Places` of each.

    Args:
        shards: of TFRecord.
        label_of: TensorFlow's operations from a record (string []) to its label (int64 []). They
            fail where the record holds no image.

    Raises:
        ValueError: a shard is cut short, compressed or no TFRecord file, or more records than 1 %
            have wrong checksums; names the shard and the byte.
    """
    check_can_be_opened([shard.path for shard in shards])
    tables = [np.empty((0, ROW), np.int64) for _ in shards]
    left = [number for number, shard in enumerate(shards) if shard.size]
    with _progress(sum(shard.size for shard in shards)) as progress:
        while left:
            begins = [_end(table) for table in tables]
            good = _read_on(shards, left, begins, label_of, progress)
            for number in left:
                shard, rows = shards[number], good.get(number, tables[number][:0])
                rows = _with_bad_between(shard, begins[number], rows)
                tables[number] = np.concatenate([tables[number], rows])
                # The reader stopped there. Or it went on, and found no image in what is left.
                while _end(tables[number]) < shard.size:
                    bad = _bad_record(shard, _end(tables[number]), label_of)
                    if bad is None:
                        break
                    tables[number] = np.concatenate([tables[number], [bad]])
                    _check_damage(shards, tables)
                else:
                    continue
                if _end(tables[number]) == begins[number]:
                    raise FileError(
                        f"{shard.path} cannot be read on from byte {begins[number]}, though the "
                        "record there can be read by itself. Give the same command again."
                    )
            left = [number for number in left if _end(tables[number]) < shards[number].size]
    return [_places(table) for table in tables]


def _read_on(
    shards: Sequence[Shard],
    left: Sequence[int],
    begins: Sequence[int],
    label_of: Callable[[tf.Tensor], tf.Tensor],
    progress: Any,
) -> dict[int, NDArray[np.int64]]:
    """Reads some shards from `begins` on, each to its end or to a wrong checksum.

    Returns:
        {number of the shard: rows of its good records, in order}, of shards that gave one.
    """
    paths = [os_bytes(shards[number].path) for number in left]
    batches = []
    begins = [begins[number] for number in left]
    for batch in _scanned(paths, left, begins, label_of).as_numpy_iterator():
        batches.append(np.stack(batch, axis=1))
        progress.update(int((batch[1 + LENGTH] + FRAME).sum()))
    if not batches:
        return {}
    rows = np.concatenate(batches)
    rows = np.column_stack([rows, np.ones(len(rows), np.int64)])
    rows = rows[np.lexsort((rows[:, 1 + OFFSET], rows[:, 0]))]
    numbers, first = np.unique(rows[:, 0], return_index=True)
    return dict(zip(numbers.tolist(), np.split(rows[:, 1:], first[1:]), strict=True))


def _scanned(
    paths: Sequence[bytes],
    numbers: Sequence[int],
    begins: Sequence[int],
    label_of: Callable[[tf.Tensor], tf.Tensor],
) -> tf.data.Dataset:
    """Returns a dataset of batches (number of the shard, offset, length, label), in no order."""

    @tf.autograph.experimental.do_not_convert
    def records(path: tf.Tensor, number: tf.Tensor, begin: tf.Tensor) -> tf.data.Dataset:
        @tf.autograph.experimental.do_not_convert
        def with_offset(offset: tf.Tensor, record: tf.Tensor) -> tuple[Any, Any]:
            return offset + _length(record) + FRAME, (number, offset, record)

        # A record that fails is the end of its file then: `scan` finds out why. (A file that cannot
        # be opened would fail for ever.)
        in_order = records_from([path], [begin], SCAN_BUFFER).ignore_errors()
        return in_order.scan(begin, with_offset)

    @tf.autograph.experimental.do_not_convert
    def look_into(number: tf.Tensor, offset: tf.Tensor, record: tf.Tensor) -> tuple[Any, ...]:
        return number, offset, _length(record), label_of(record)

    numbers_and_begins = np.array(numbers, np.int64), np.array(begins, np.int64)
    files = tf.data.Dataset.from_tensor_slices((paths, *numbers_and_begins))
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": False}
    return (
        files.interleave(records, cycle_length=min(len(paths), SCANNED_AT_ONCE), **parallel)
        .map(look_into, **parallel)
        .ignore_errors()  # `scan` finds the gaps
        .batch(128)
        .prefetch(tf.data.AUTOTUNE)
    )


def _checked(records: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Returns records, which fail if they have other lengths than when the shards were scanned.

    A shard that was replaced during a run may hold whole records at the same places.
    """
    same = tf.debugging.assert_equal(
        _length(records), lengths, "The shard was replaced since its records were found."
    )
    with tf.control_dependencies([same]):
        return tf.identity(records)


def _length(record: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.strings.length(record), tf.int64)


def _end(rows: NDArray[np.int64], begin: int = 0) -> int:
    """Returns the byte behind the last of the records in `rows`; `begin` if there is none."""
    return int(rows[-1, OFFSET] + rows[-1, LENGTH] + FRAME) if len(rows) else begin


def _with_bad_between(shard: Shard, begin: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the rows of good records with those of the bad ones before and between them."""
    ends = rows[:, OFFSET] + rows[:, LENGTH] + FRAME
    gaps = np.flatnonzero(np.concatenate([[begin], ends])[:-1] != rows[:, OFFSET])
    found = []
    for gap in gaps:
        offset = _end(rows[:gap], begin)
        while offset < rows[gap, OFFSET]:
            found.append([offset, length := _length_by_header(shard, offset), -1, False])
            offset += length + FRAME
    if not found:
        return rows
    both = np.concatenate([rows, np.array(found, np.int64)])
    return both[np.argsort(both[:, OFFSET])]


def _bad_record(
    shard: Shard, offset: int, label_of: Callable[[tf.Tensor], tf.Tensor]
) -> list[int] | None:
    """Returns the row of the record at `offset` if it is bad, else None.

    Raises:
        OSError: the shard cannot be read, such as when a bucket does not answer.
        ValueError: as `_length_by_header`.
    """
    try:
        with reading(shard.path):
            one = records_from([shard.path], [offset], SCAN_BUFFER).take(1)
            record = one.get_single_element()
    except FileError as error:
        if not isinstance(error.__cause__, DAMAGED):
            raise
        return [offset, _length_by_header(shard, offset), -1, False]
    try:
        label_of(record)
    except tf.errors.OpError:
        return [offset, len(record.numpy()), -1, False]
    return None


def _places(table: NDArray[np.int64]) -> Places:
    good = table[:, GOOD].astype(bool)
    return Places(table[:, OFFSET], table[:, LENGTH], table[:, LABEL], good)


def _check_damage(shards: Sequence[Shard], tables: Sequence[NDArray[np.int64]]) -> None:
    """Raises a ValueError early if so many records are bad that it will be one at the end."""
    bad = [
        (shard.path, row[OFFSET])
        for shard, table in zip(shards, tables, strict=True)
        for row in table[table[:, GOOD] == 0]
    ]
    count = sum(map(len, tables))
    share_read = sum(map(_end, tables)) / sum(shard.size for shard in shards)
    if too_many(len(bad), round(count / share_read)):
        path, offset = bad[0]
        raise UserError(
            f"{len(bad)} of the first {count} records cannot be read, or hold no image that can be "
            f"decoded; the first of them is in {path} at byte {offset}. Copy the shards again, or "
            f"write them again; up to {MOST:.0%} of bad records are left out."
        )


def _length_by_header(shard: Shard, offset: int) -> int:
    """Returns the length of a record by the first bytes of it, which have a checksum.

    Raises:
        ValueError: the shard ends there, or the length is damaged; names the shard and the byte.
    """
    with reading(shard.path), tf.io.gfile.GFile(shard.path, "rb") as file:
        file.seek(offset)
        header = file.read(HEADER)
    where = f"{shard.path} at byte {offset} of {shard.size}"
    if len(header) == HEADER:
        length, checksum = struct.unpack("<QI", header)
        if checksum == masked_crc32c(header[:8]):
            if offset + FRAME + length <= shard.size:
                return int(length)
            raise UserError(
                f"The shard {where} begins a record that is longer than the rest of the file: the "
                "file is cut short. Copy it again."
            )
    else:
        raise UserError(f"The shard {where} ends within a record: it is cut short. Copy it again.")
    if offset == 0:
        kind = "compressed (gzip)" if header[:2] == GZIP else "no TFRecord file, or damaged"
        raise UserError(
            f"The shard {where} has no record: it is {kind}. Random access needs TFRecord files "
            "without compression; if these are not meant to be shards, give a narrower pattern."
        )
    raise UserError(
        f"The shard {where} has a record whose length is damaged, so that those behind it cannot "
        "be found. Copy it again."
    )


def first_records(shard: Shard, most: int = 10) -> list[bytes]:
    """Returns the contents of the first records of a shard that can be read."""
    found: list[bytes] = []
    offset = 0
    while offset < shard.size and len(found) < most:
        try:
            with reading(shard.path):
                one = records_from([shard.path], [offset], FIRST_BUFFER).take(1)
                content = one.get_single_element().numpy()
        except FileError as error:
            if not isinstance(error.__cause__, DAMAGED):
                raise
            offset += _length_by_header(shard, offset) + FRAME
            continue
        found.append(content)
        offset += len(content) + FRAME
    return found


def masked_crc32c(data: bytes) -> int:
    """Returns the checksum of TFRecord files, of few bytes: Python computes it bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _progress(total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(
        total=total, desc="Reading shards", unit="B", unit_scale=True, disable=total < SHOWN_FROM
    )
