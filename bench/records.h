/* The records every store gets: keys that look random but whose order is known, and values that prove themselves.
 *
 * Key number r of n (its rank) is the r-th in key order: eight bytes near r * 2^64 / n, big-endian, then eight of a hash. So a
 * scan knows which key must come next, and a key with another second half is surely absent.
 *
 * A value starts with a hash of its key and the version that was put; the rest is a piece of one random block, chosen by
 * both. Checking costs a comparison with that piece; a value under another key, torn, or of no version shows. */
#ifndef BENCH_RECORDS_H
#define BENCH_RECORDS_H

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace bench {

using Bytes = std::string_view;

/* The high half of a product: x of 2^64 parts of bound. */
inline uint64_t part(uint64_t x, uint64_t bound) {
  __extension__ typedef unsigned __int128 wide;
  return static_cast<uint64_t>(static_cast<wide>(x) * bound >> 64);
}

inline uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 31;
}

class Random {
public:
  explicit Random(uint64_t seed) : state_(mix(seed)) {}
  uint64_t next() { return mix(state_ += UINT64_C(0x9e3779b97f4a7c15)); }
  uint64_t below(uint64_t bound) { return part(next(), bound); }
  double fraction() { return static_cast<double>(next() >> 11) / 9007199254740992.0; }

private:
  uint64_t state_;
};

class Records {
public:
  static constexpr size_t key_size = 16, value_least = 16;

  Records(uint64_t count, size_t value_size, uint64_t seed)
      : count_(count), value_size_(value_size), seed_(seed), step_(UINT64_MAX / count),
        block_(block_starts + value_size, '\0') {
    Random random(seed);
    for (char &byte : block_) byte = static_cast<char>(random.next());
  }

  uint64_t count() const { return count_; }
  size_t value_size() const { return value_size_; }
  uint64_t bytes() const { return count_ * (key_size + value_size_); }

  /* Writes key_size bytes. */
  void key(uint64_t rank, char *out) const { write(first(rank), second(rank), out); }
  /* Lies beside key `rank`, is no key of any rank, nor an added one. */
  void absent(uint64_t rank, char *out) const { write(first(rank), second(rank) ^ 1, out); }
  /* Keys beyond the first n, at random places of the order: number 0, 1, 2 ... below 2^31. */
  void added(uint64_t number, char *out) const {
    uint64_t rank = mix(number + seed_) % count_;
    write(first(rank), second(rank) ^ (number + 1) << 1, out);
  }

  /* Writes value_size bytes. */
  void value(Bytes key, uint32_t version, char *out) const {
    uint64_t hash = hash_of(key), stored = version;
    std::memcpy(out, &hash, 8);
    std::memcpy(out + 8, &stored, 8);
    std::memcpy(out + value_least, piece(hash, version), value_size_ - value_least);
  }

  /* Whether it is the whole value of that key in a version of least..most. */
  bool verify(Bytes key, Bytes value, uint32_t least, uint32_t most) const {
    if (key.size() != key_size || value.size() != value_size_) return false;
    uint64_t hash, version;
    std::memcpy(&hash, value.data(), 8);
    std::memcpy(&version, value.data() + 8, 8);
    return hash == hash_of(key) && version >= least && version <= most &&
           std::memcmp(value.data() + value_least, piece(hash, version), value_size_ - value_least) == 0;
  }

private:
  static constexpr size_t block_starts = 16384;

  uint64_t first(uint64_t rank) const { return rank * step_ + part(mix(rank ^ seed_), step_); }
  uint64_t second(uint64_t rank) const { return mix(rank + (seed_ << 32)); }
  static void write(uint64_t first, uint64_t second, char *out) {
    first = __builtin_bswap64(first); /* of a little-endian machine */
    std::memcpy(out, &first, 8);
    std::memcpy(out + 8, &second, 8);
  }
  static uint64_t hash_of(Bytes key) {
    uint64_t a, b;
    std::memcpy(&a, key.data(), 8);
    std::memcpy(&b, key.data() + 8, 8);
    return mix(a ^ (b << 29 | b >> 35));
  }
  const char *piece(uint64_t hash, uint64_t version) const {
    return block_.data() + (hash + version * 7919) % block_starts;
  }

  uint64_t count_;
  size_t value_size_;
  uint64_t seed_, step_;
  std::string block_;
};

} // namespace bench

#endif
