//! Medians, percentiles and spread of what was measured.

/// The smallest value that at least `percent` (0–100) of them do not exceed; `sorted` ascends.
pub(crate) fn percentile<T: Copy>(sorted: &[T], percent: f64) -> Option<T> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank lies between 0 and the count, and counts fit 53 bits"
    )]
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    let last = sorted.len().checked_sub(1)?;
    sorted.get(rank.saturating_sub(1).min(last)).copied()
}

/// The middle one; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

/// Half the distance from the least to the most, as a share of the median; one value has none.
pub(crate) fn spread_percent(values: &[f64]) -> Option<f64> {
    let median = median(values).filter(|_| values.len() > 1)?;
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some((most - least) / 2.0 / median * 100.0)
}

#[cfg(test)]
mod tests {
    use super::{median, percentile, spread_percent};

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<u32> = (1..=1000).collect();
        for (percent, expected) in [
            (50.0, 500),
            (90.0, 900),
            (99.0, 990),
            (99.9, 999),
            (100.0, 1000),
        ] {
            assert_eq!(percentile(&values, percent), Some(expected), "p{percent}");
        }
        assert_eq!(percentile(&[7], 99.9), Some(7));
        assert_eq!(percentile(&[7, 8], 0.0), Some(7));
        assert_eq!(percentile::<u32>(&[], 50.0), None);
    }

    #[test]
    fn a_median_does_not_care_for_one_wild_round() {
        assert_eq!(median(&[3.0, 1000.0, 1.0]), Some(3.0));
        assert_eq!(median(&[4.0, 2.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn spread_is_half_the_range_over_the_median() {
        assert_eq!(spread_percent(&[90.0, 100.0, 110.0]), Some(10.0));
        assert_eq!(spread_percent(&[5.0]), None);
    }
}
