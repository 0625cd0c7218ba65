#!/usr/bin/env python3
"""Makes images of MirageOS Wodan (format version 1), written from the description of the format alone, and tells what is
in them.

A tree of nodes is filled with random inserts, overwrites and deletions, spilling and splitting as the original does, and
flushed now and then, each flush to fresh blocks round the device. So there are older roots, blocks used again, values
shadowed by newer ones nearer the root. Usage: make_mirage.py IMAGE MODEL --seed N [OPTION...]; MODEL gets the records as
`wodan dump --format=base64` prints them. The same arguments make the same bytes.
"""
import argparse
import base64
import bisect
import random
import struct
import sys

MAGIC = b"MIRAGE KVFS \xf0\x9f\x90\xaa"
ROOT, CHILD = 1, 2

TABLE = []
for byte in range(256):
    value = byte
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    TABLE.append(value)


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 255]
    return value ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


def sealed(data):
    """data with the four bytes behind it that make the CRC of the whole ffffffff."""
    whole = data + struct.pack("<I", crc32c(data) ^ 0xFFFFFFFF)
    assert crc32c(whole) == 0xFFFFFFFF
    return whole


class Full(Exception):
    """No block is free."""


class Node:
    def __init__(self, upper, height):
        self.upper = upper  # the last key of the range
        self.height = height
        self.values = {}
        self.children = []  # in key order
        self.block = 0
        self.dirty = True

    def value_bytes(self, key_size):
        return sum(key_size + 2 + len(value) for value in self.values.values())


class Maker:
    def __init__(self, options):
        self.o = options
        self.random = random.Random(options.seed)
        self.fsid = self.random.randbytes(16)
        self.blocks = options.blocks
        self.disk = {}  # block: bytes
        self.used = set()
        self.generation = 0
        self.next_block = self.first_block = self.random.randrange(1, self.blocks)
        self.top = b"\xff" * options.key_size
        self.root = Node(self.top, 0)
        self.model = {}

    # ---- bytes ----

    def node_bytes(self, node, kind, generation):
        o = self.o
        head = struct.pack("<BQ16sI", kind, generation, self.fsid, len(node.values))
        if kind == ROOT:
            head += struct.pack("<I", node.height)
        values = b"".join(k + struct.pack("<H", len(v)) + v for k, v in sorted(node.values.items()))
        order = list(node.children)
        if o.shuffle_links:
            self.random.shuffle(order)
        links = b"".join(child.upper + struct.pack("<Q", child.block) for child in reversed(order))
        gap = o.block_size - 4 - len(head) - len(values) - len(links)
        assert gap >= 0, "a node that does not fit"
        return sealed(head + values + bytes(gap) + links)

    def superblock(self):
        o = self.o
        data = struct.pack("<16sIIIIBQQ16s", MAGIC, o.version, o.compatible, o.flags, o.block_size, o.key_size,
                           self.first_block, self.blocks, self.fsid)
        return sealed(data + bytes(508 - len(data))) + bytes(o.block_size - 512)

    # ---- the device ----

    def take_block(self):
        for _ in range(self.blocks):
            block = self.next_block
            self.next_block = block + 1 if block + 1 < self.blocks else 1
            if block not in self.used:
                self.used.add(block)
                return block
        raise Full

    def write_below(self, node, freed):
        for child in node.children:
            if child.dirty:
                self.write_below(child, freed)
                self.write(child, CHILD, freed)

    def write(self, node, kind, freed):
        if node.block:
            freed.append(node.block)
        node.block = self.take_block()
        self.generation += 1
        self.disk[node.block] = self.node_bytes(node, kind, self.generation)
        node.dirty = False

    def flush(self, root_too=True):
        freed = []
        self.write_below(self.root, freed)
        if root_too:
            self.write(self.root, ROOT, freed)
            self.used.difference_update(freed)

    # ---- the tree ----

    def room(self, node, size):
        o = self.o
        head = 33 if node is self.root else 29
        limit = o.block_size // 2 if node.children else o.block_size - 4
        return limit - head - node.value_bytes(o.key_size) >= size

    def child_of(self, node, key):
        return bisect.bisect_left([child.upper for child in node.children], key)

    def make_room(self, node, parent, size):
        """So that values of `size` bytes fit into the node, or into what it was split into. True when it was split."""
        if self.room(node, size):
            return False
        if node.children and node.values:
            self.spill(node)
            return self.make_room(node, parent, size)
        self.split(node, parent)
        return True

    def spill(self, node):
        weights = {}
        for key, value in node.values.items():
            at = self.child_of(node, key)
            weights[at] = weights.get(at, 0) + self.o.key_size + 2 + len(value)
        at = max(sorted(weights), key=weights.get)
        child = node.children[at]
        if self.make_room(child, node, weights[at]):
            return  # the child is another one now
        lower = node.children[at - 1].upper if at else b""
        for key in [key for key in node.values if lower < key <= child.upper]:
            child.values[key] = node.values.pop(key)
        child.dirty = node.dirty = True

    def halves(self, node):
        if len(node.children) > 1:
            middle = node.children[(len(node.children) - 1) // 2].upper
        else:
            keys = sorted(node.values)
            middle = keys[(len(keys) - 1) // 2]
        low = Node(middle, node.height)
        low.values = {k: v for k, v in node.values.items() if k <= middle}
        low.children = [child for child in node.children if child.upper <= middle]
        high_values = {k: v for k, v in node.values.items() if k > middle}
        return low, high_values, node.children[len(low.children):]

    def split(self, node, parent):
        low, values, children = self.halves(node)
        if parent is None:
            high = Node(self.top, node.height)
            high.values, high.children = values, children
            node.values, node.children, node.height = {}, [low, high], node.height + 1
        else:
            node.values, node.children = values, children
            parent.children.insert(self.child_of(parent, low.upper), low)
            parent.dirty = True
        node.dirty = True

    def split_full(self):
        """Nodes with too many children, from the root down."""
        def full(node):
            return len(node.children) * (self.o.key_size + 8) > self.o.block_size // 2 - 4

        def descend(node):
            for child in list(node.children):
                descend(child)
                if full(child):
                    self.split(child, node)
        descend(self.root)
        while full(self.root):
            self.split(self.root, None)

    def insert(self, key, value):
        size = self.o.key_size + 2 + len(value)
        while not self.room(self.root, size):
            self.make_room(self.root, None, size)
            self.split_full()
        self.root.values[key] = value
        self.root.dirty = True
        if self.o.flags & 8 and not value:
            self.model.pop(key, None)
        else:
            self.model[key] = value

    # ---- a history ----

    def some_key(self, known):
        if known and self.random.random() < self.o.overwrite:
            return self.random.choice(known)
        key = self.random.randbytes(self.o.key_size)
        return {0: b"\0" * len(key), 1: b"\xff" * len(key)}.get(self.random.randrange(40), key)

    def some_value(self):
        kind = self.random.random()
        if kind < self.o.empty:
            return b""
        return self.random.randbytes(self.random.randrange(1, self.o.value_size + 1))

    def run(self):
        o, known = self.o, []
        for block in range(1, self.blocks, o.preroots) if o.preroots else ():
            self.disk[block] = self.node_bytes(Node(self.top, 0), ROOT, 0)
        self.flush()
        for number in range(1, o.operations + 1):
            key = self.some_key(known)
            known.append(key)
            self.insert(key, self.some_value())
            if number % o.flush_every == 0:
                self.flush()
        self.flush()
        model = dict(self.model)
        if o.unfinished:  # a flush that never came to its root
            for _ in range(o.flush_every):
                self.insert(self.some_key(known), self.some_value())
            self.flush(root_too=False)
            self.model = model
        if o.torn:  # a root that was written by half
            self.insert(self.some_key(known), self.some_value())
            self.flush()
            self.model = model
            torn = self.disk[self.root.block]
            self.disk[self.root.block] = torn[:len(torn) // 2] + bytes(len(torn) - len(torn) // 2)

    def save(self):
        o = self.o
        empty = bytes(o.block_size)
        with open(o.image, "wb") as out:
            out.write(self.superblock())
            for block in range(1, self.blocks):
                out.write(self.disk.get(block, empty))
            out.write(bytes(o.behind))
        with open(o.model, "w") as out:
            for key, value in sorted(self.model.items()):
                out.write(base64.b64encode(key).decode() + "\t" + base64.b64encode(value).decode() + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--flags", type=int, default=7)
    parser.add_argument("--compatible", type=int, default=0)
    parser.add_argument("--block-size", type=int, default=4096)
    parser.add_argument("--key-size", type=int, default=20)
    parser.add_argument("--value-size", type=int, default=40, help="the biggest")
    parser.add_argument("--blocks", type=int, default=64)
    parser.add_argument("--operations", type=int, default=200)
    parser.add_argument("--flush-every", type=int, default=50)
    parser.add_argument("--overwrite", type=float, default=0.3, help="share of operations on known keys")
    parser.add_argument("--empty", type=float, default=0.2, help="share of empty values")
    parser.add_argument("--preroots", type=int, default=0, help="a root of generation 0 every so many blocks")
    parser.add_argument("--shuffle-links", action="store_true", help="child links in any order, as early versions wrote them")
    parser.add_argument("--unfinished", action="store_true", help="end in a flush without its root")
    parser.add_argument("--torn", action="store_true", help="end in a root that is written by half")
    parser.add_argument("--behind", type=int, default=0, help="bytes behind the file system")
    maker = Maker(parser.parse_args())
    try:
        maker.run()
    except Full:
        sys.exit("the blocks are too few")
    maker.save()
    print(f"height {maker.root.height}, generation {maker.generation}, {len(maker.model)} records, {len(maker.used)} blocks")


if __name__ == "__main__":
    main()
