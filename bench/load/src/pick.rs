//! Which key comes next: uniform, or Zipf with the popular keys scattered over the key space.

use fastrand::Rng;

/// Ranks 1 to n with probability proportional to rank^-s, in constant time and memory.
///
/// Rejection-inversion after Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone
/// discrete distributions", ACM TOMACS 6 (1996).
#[derive(Clone, Debug)]
pub struct Zipf {
    ranks: f64,
    exponent: f64,
    area_first: f64,
    area_last: f64,
    accept_within: f64,
}

impl Zipf {
    /// `ranks` of at least 1, `exponent` above 0.
    pub fn new(ranks: u64, exponent: f64) -> Zipf {
        let mut zipf = Zipf {
            ranks: ranks as f64,
            exponent,
            area_first: 0.0,
            area_last: 0.0,
            accept_within: 0.0,
        };
        zipf.area_first = zipf.area(1.5) - 1.0;
        zipf.area_last = zipf.area(zipf.ranks + 0.5);
        zipf.accept_within = 2.0 - zipf.area_inverse(zipf.area(2.5) - zipf.height(2.0));
        zipf
    }

    /// The next rank, from 1.
    pub fn rank(&self, rng: &mut Rng) -> u64 {
        loop {
            let area = self.area_last + rng.f64() * (self.area_first - self.area_last);
            let at = self.area_inverse(area);
            let rank = at.round().clamp(1.0, self.ranks);
            if rank - at <= self.accept_within || area >= self.area(rank + 0.5) - self.height(rank) {
                return rank as u64;
            }
        }
    }

    fn height(&self, at: f64) -> f64 {
        at.powf(-self.exponent)
    }

    /// The integral of `height` up to `at`.
    fn area(&self, at: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 {
            at.ln()
        } else {
            (at.powf(power) - 1.0) / power
        }
    }

    fn area_inverse(&self, area: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 {
            area.exp()
        } else {
            (1.0 + area * power).powf(1.0 / power)
        }
    }
}

/// Chooses positions in 0..len.
#[derive(Clone, Debug)]
pub enum Picker {
    /// All alike.
    Uniform {
        /// Number of positions, at least 1.
        len: u64,
    },
    /// Rank r stands at position `r * stride mod len`: popular keys are not neighbours on disk.
    Zipf {
        /// Draws the rank.
        zipf: Zipf,
        /// Number of positions.
        len: u64,
        /// Coprime to `len`.
        stride: u64,
    },
}

impl Picker {
    /// A picker over `len` positions (0 counts as 1), Zipf if there is an exponent.
    pub fn new(len: u64, exponent: Option<f64>) -> Picker {
        let len = len.max(1);
        match exponent {
            None => Picker::Uniform { len },
            Some(exponent) => Picker::Zipf {
                zipf: Zipf::new(len, exponent),
                len,
                stride: scattering_stride(len),
            },
        }
    }

    /// The next position.
    #[inline]
    pub fn pick(&self, rng: &mut Rng) -> u64 {
        match self {
            Picker::Uniform { len } => rng.u64(0..*len),
            Picker::Zipf { zipf, len, stride } => {
                ((u128::from(zipf.rank(rng) - 1) * u128::from(*stride)) % u128::from(*len)) as u64
            }
        }
    }
}

/// The number nearest above the golden section of `len` that is coprime to it.
fn scattering_stride(len: u64) -> u64 {
    let golden = (len as f64 * 0.618_033_988_749_895) as u64;
    (golden.max(1)..)
        .find(|stride| gcd(*stride, len) == 1)
        .unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_frequencies_follow_the_law() {
        for exponent in [0.5, 0.99, 1.0, 1.5] {
            let ranks = 1000;
            let zipf = Zipf::new(ranks, exponent);
            let mut rng = Rng::with_seed(7);
            let draws = 400_000;
            let mut counts = vec![0u32; ranks as usize + 1];
            for _ in 0..draws {
                counts[zipf.rank(&mut rng) as usize] += 1;
            }
            assert_eq!(counts[0], 0);
            let total: f64 = (1..=ranks).map(|rank| (rank as f64).powf(-exponent)).sum();
            for rank in [1usize, 2, 3, 10, 100] {
                let expected = f64::from(draws) * (rank as f64).powf(-exponent) / total;
                let deviation = (f64::from(counts[rank]) - expected).abs();
                assert!(
                    deviation < 5.0 * expected.sqrt() + 1.0,
                    "s={exponent} rank {rank}: {} for {expected}",
                    counts[rank]
                );
            }
        }
    }

    #[test]
    fn one_rank_is_always_drawn() {
        let zipf = Zipf::new(1, 0.99);
        let mut rng = Rng::with_seed(1);
        assert!((0..1000).all(|_| zipf.rank(&mut rng) == 1));
    }

    #[test]
    fn scattering_reaches_every_position_once() {
        for len in [1u64, 2, 10, 97, 1000, 65536] {
            let stride = scattering_stride(len);
            let mut seen = vec![false; len as usize];
            for rank in 0..len {
                let position = ((u128::from(rank) * u128::from(stride)) % u128::from(len)) as usize;
                assert!(
                    !std::mem::replace(&mut seen[position], true),
                    "{len}: {position} twice"
                );
            }
        }
    }

    #[test]
    fn uniform_covers_the_range() {
        let picker = Picker::new(16, None);
        let mut rng = Rng::with_seed(3);
        let mut seen = [false; 16];
        (0..2000).for_each(|_| seen[picker.pick(&mut rng) as usize] = true);
        assert!(seen.iter().all(|seen| *seen));
    }
}
