/* Ranks of a Zipf distribution with exponent 0.99, as YCSB draws them (Gray et al., "Quickly Generating Billion-Record
 * Synthetic Databases"): 0 is drawn most often. */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "records.h"

namespace bench {

class Zipf {
public:
  explicit Zipf(uint64_t count) : count_(static_cast<double>(count)) {
    for (uint64_t i = 1; i <= count; i++) zeta_ += 1 / std::pow(static_cast<double>(i), theta);
    double zeta2 = 1 + std::pow(0.5, theta);
    eta_ = (1 - std::pow(2 / count_, 1 - theta)) / (1 - zeta2 / zeta_);
  }
  uint64_t next(Random &random) const {
    double u = random.fraction(), uz = u * zeta_;
    if (uz < 1) return 0;
    if (uz < 1 + std::pow(0.5, theta)) return 1;
    double rank = count_ * std::pow(eta_ * u - eta_ + 1, 1 / (1 - theta));
    return static_cast<uint64_t>(std::min(rank, count_ - 1));
  }

private:
  static constexpr double theta = 0.99;
  double count_, zeta_ = 0, eta_;
};

} // namespace bench

#endif
