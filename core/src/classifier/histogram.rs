//! One cell's histogram: a few slots of a bucket and its weight.
//!
//! Invariant: an empty slot has weight 0; a bucket has at most one slot that is not empty.
//!
//! Source: our own.

/// A sighting that weighs less is forgotten, so that its slot is free and no weight becomes subnormal.
const FORGOTTEN: f32 = 1e-6;

/// Lets all sightings fade by `alpha` and adds one of `bucket`, in the place of the lightest if there is no other.
pub(super) fn add(buckets: &mut [u16], weights: &mut [f32], bucket: u16, alpha: f32) {
    let keep = 1.0 - alpha;
    let mut place = 0;
    let mut is_known = false;
    for slot in 0..weights.len() {
        let faded = weights[slot] * keep;
        weights[slot] = if faded < FORGOTTEN { 0.0 } else { faded };
        if buckets[slot] == bucket && weights[slot] > 0.0 {
            (place, is_known) = (slot, true);
        } else if !is_known && weights[slot] < weights[place] {
            place = slot;
        }
    }
    if !is_known {
        buckets[place] = bucket;
        weights[place] = 0.0;
    }
    weights[place] += alpha;
}

/// The bucket with the most votes, of equal ones the lowest; `None` without votes.
pub(super) fn heaviest(votes: &[f32]) -> Option<usize> {
    let mut best = None;
    let mut most = 0.0;
    for (bucket, &vote) in votes.iter().enumerate() {
        if vote > most {
            (best, most) = (Some(bucket), vote);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_bucket_takes_the_lightest_place() {
        let (mut buckets, mut weights) = ([0; 3], [0.0; 3]);
        for bucket in [5, 5, 6, 7] {
            add(&mut buckets, &mut weights, bucket, 0.25);
        }
        assert_eq!(buckets, [5, 6, 7]);
        add(&mut buckets, &mut weights, 8, 0.25);
        assert_eq!(buckets, [5, 8, 7]);
        let sum: f32 = weights.iter().sum();
        assert!(sum <= 1.0 && weights.iter().all(|&weight| weight > 0.0), "{weights:?}");
    }

    #[test]
    fn bucket_0_and_an_empty_slot_are_two_things() {
        let (mut buckets, mut weights) = ([0; 2], [0.0; 2]);
        add(&mut buckets, &mut weights, 0, 0.5);
        add(&mut buckets, &mut weights, 4, 0.5);
        assert_eq!((buckets, weights), ([0, 4], [0.25, 0.5]));
    }

    #[test]
    fn what_was_not_seen_for_long_is_forgotten() {
        let (mut buckets, mut weights) = ([0; 2], [0.0; 2]);
        add(&mut buckets, &mut weights, 9, 0.5);
        for _ in 0..30 {
            add(&mut buckets, &mut weights, 4, 0.5);
        }
        assert_eq!(weights[0].to_bits(), 0);
        assert_eq!(heaviest(&[0.0, 0.5, 0.5]), Some(1));
        assert_eq!(heaviest(&[0.0; 4]), None);
    }
}
