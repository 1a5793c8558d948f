//! What a job's use of memory says about its declaration.

use model::{Mib, Ratio};

/// By what a declaration grows after the memory ran out, as a fraction: five
/// quarters. Whole numbers, so that no rounding differs between machines.
const GROWTH: (u64, u64) = (5, 4);

/// What a job asks for the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextVram {
    /// The memory on each of its GPUs, in MiB.
    pub vram: Option<Mib>,
    /// Whether it gets its GPUs to itself.
    pub alone: bool,
}

/// What to ask for after a GPU ran out of memory. All amounts are MiB per GPU.
///
/// A job that declared nothing has all there is already and stays alone on its
/// GPUs. Any other asks for a quarter more than it declared or was seen to use,
/// whichever is more. Where that and the `margin` are more than the largest GPU
/// has, it asks for what can be had and gets the GPU to itself, which is the most
/// this machine can do for it.
pub fn after_oom(
    declared: Option<Mib>,
    peak: Option<Mib>,
    largest_usable: Option<Mib>,
    margin: Mib,
) -> NextVram {
    let Some(declared) = declared else {
        return NextVram { vram: None, alone: true };
    };
    let grown = grow(peak.map_or(declared, |peak| peak.max(declared)));
    match largest_usable {
        Some(largest) if grown + margin > largest => {
            NextVram { vram: Some(largest.saturating_sub(margin)), alone: true }
        }
        Some(_) | None => NextVram { vram: Some(grown), alone: false },
    }
}

/// `amount` times [`GROWTH`], rounded up.
fn grow(amount: Mib) -> Mib {
    let (numerator, denominator) = GROWTH;
    let grown = (u64::from(amount.get()) * numerator).div_ceil(denominator);
    Mib::new(u32::try_from(grown).unwrap_or(u32::MAX))
}

/// How a declaration compares with what was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assessment {
    /// About right.
    Within,
    /// It declared too little: it used more, by so many per cent.
    Under(i32),
    /// It declared too much: it used less, by so many per cent (not positive).
    Over(i32),
}

/// Compares a declaration with the peak on one GPU. What differs by no more than
/// `tolerance` is about right; per cent are of the declaration, halves rounded to
/// even as the Python tool prints them.
pub fn assess(declared: Mib, peak: Mib, tolerance: Ratio) -> Assessment {
    let (declared, peak) = (f64::from(declared.get()), f64::from(peak.get()));
    if peak > declared * (1.0 + tolerance.get()) {
        Assessment::Under(percent(peak / declared - 1.0))
    } else if peak < declared * (1.0 - tolerance.get()) {
        Assessment::Over(-percent(1.0 - peak / declared))
    } else {
        Assessment::Within
    }
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and no sane job gets that far")]
fn percent(fraction: f64) -> i32 {
    (100.0 * fraction).round_ties_even() as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenth() -> Ratio {
        Ratio::new(0.10).unwrap()
    }

    #[track_caller]
    fn check_assessment(declared: u32, peak: u32, expect: Assessment) {
        assert_eq!(assess(Mib::new(declared), Mib::new(peak), tenth()), expect, "{peak} of {declared}");
    }

    #[track_caller]
    fn check_next(
        declared: Option<u32>,
        peak: Option<u32>,
        largest: Option<u32>,
        expect: (Option<u32>, bool),
    ) {
        let [declared, peak, largest] = [declared, peak, largest].map(|mib| mib.map(Mib::new));
        let next = after_oom(declared, peak, largest, Mib::new(512));
        assert_eq!((next.vram.map(Mib::get), next.alone), expect);
    }

    #[test]
    fn the_edges_of_the_tolerance_are_within() {
        check_assessment(10_000, 11_000, Assessment::Within);
        check_assessment(10_000, 11_001, Assessment::Under(10));
        check_assessment(10_000, 9_000, Assessment::Within);
        check_assessment(10_000, 8_999, Assessment::Over(-10));
        check_assessment(10_000, 0, Assessment::Over(-100));
        check_assessment(1, 100_000, Assessment::Under(9_999_900));
    }

    #[test]
    fn halves_of_a_per_cent_round_to_even() {
        check_assessment(1_000, 1_125, Assessment::Under(12));
        check_assessment(1_000, 1_375, Assessment::Under(38));
        check_assessment(1_000, 875, Assessment::Over(-12));
    }

    #[test]
    fn a_declaration_grows_by_a_quarter() {
        check_next(Some(2048), None, Some(24576), (Some(2560), false));
        check_next(Some(2048), Some(1000), Some(24576), (Some(2560), false));
        check_next(Some(2048), Some(4001), Some(24576), (Some(5002), false));
        check_next(Some(20_000), None, None, (Some(25_000), false));
    }

    #[test]
    fn past_the_largest_gpu_a_job_is_alone() {
        check_next(Some(19_251), None, Some(24_576), (Some(24_064), false));
        check_next(Some(19_252), None, Some(24_576), (Some(24_064), true));
        check_next(Some(24_064), Some(24_570), Some(24_576), (Some(24_064), true));
    }

    #[test]
    fn who_declared_nothing_stays_alone() {
        check_next(None, Some(5000), Some(24_576), (None, true));
        check_next(None, None, None, (None, true));
    }

    fn mib() -> impl Strategy<Value = Mib> {
        prop_oneof![1_u32..=100_000, any::<u32>()].prop_map(Mib::new)
    }

    fn as_order(assessment: Assessment) -> (i8, i32) {
        match assessment {
            Assessment::Over(percent) => (-1, percent),
            Assessment::Within => (0, 0),
            Assessment::Under(percent) => (1, percent),
        }
    }

    proptest! {
        #[test]
        fn the_more_is_used_the_more_was_under_declared(
            declared in mib(), a in mib(), b in mib(), tolerance in 0.0..2.0,
        ) {
            let tolerance = Ratio::new(tolerance).unwrap();
            let (less, more) = (a.min(b), a.max(b));
            let order = |peak| as_order(assess(declared, peak, tolerance));
            prop_assert!(order(less) <= order(more));
        }

        #[test]
        fn per_cent_have_the_sign_of_the_difference(declared in mib(), peak in mib()) {
            match assess(declared, peak, Ratio::ZERO) {
                Assessment::Within => prop_assert_eq!(peak, declared),
                Assessment::Under(percent) => prop_assert!(peak > declared && percent >= 0),
                Assessment::Over(percent) => prop_assert!(peak < declared && (-100..=0).contains(&percent)),
            }
        }

        #[test]
        fn the_next_declaration_is_larger_or_capped(
            declared in mib(), peak in proptest::option::of(mib()), largest in proptest::option::of(mib()), margin in mib(),
        ) {
            let next = after_oom(Some(declared), peak, largest, margin);
            let vram = next.vram.unwrap();
            if next.alone {
                prop_assert_eq!(Some(vram), largest.map(|largest| largest.saturating_sub(margin)));
            } else {
                let more = vram > declared && peak.is_none_or(|peak| vram > peak);
                prop_assert!(more || vram == Mib::new(u32::MAX));
                prop_assert!(largest.is_none_or(|largest| vram + margin <= largest));
            }
        }

        #[test]
        fn who_asks_for_more_gets_no_less(
            a in mib(), b in mib(), peak in mib(), largest in proptest::option::of(mib()), margin in mib(),
        ) {
            let next = |declared, peak| after_oom(Some(declared), Some(peak), largest, margin);
            let order = |next: NextVram| (next.alone, next.vram);
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(order(next(less, peak)) <= order(next(more, peak)));
            prop_assert!(order(next(peak, less)) <= order(next(peak, more)));
        }
    }
}
