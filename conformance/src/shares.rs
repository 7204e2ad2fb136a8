//! Shares of endpoints: exact probabilities, counts, and checks of both.

use std::collections::BTreeMap;

use num_bigint::BigUint;
use sim::draws::Weight;

use crate::observation::{EndpointName, FlowObservation, Outcome};
use crate::result::{EndpointShare, Failure, Subject};
use crate::scenario::{OutcomePattern, Share};
use crate::statistics::{GTest, SIGNIFICANCE};

/// The exact distribution of one connection; probabilities sum to one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// Probabilities by outcome and endpoint.
    pub weights: BTreeMap<(Outcome, Option<EndpointName>), Weight>,
}

impl Distribution {
    /// Adds a path through all decisions.
    pub fn add(&mut self, outcome: Outcome, endpoint: Option<EndpointName>, weight: &Weight) {
        *self.weights.entry((outcome, endpoint)).or_insert(Weight::ZERO) += weight;
    }

    /// The probability that this endpoint answers; `None` means no answer.
    pub fn of_endpoint(&self, endpoint: Option<&EndpointName>) -> Weight {
        self.sum(|_, who| who == endpoint)
    }

    /// The probability of an outcome.
    pub fn of_outcome(&self, pattern: OutcomePattern) -> Weight {
        self.sum(|outcome, _| pattern.fits(outcome))
    }

    fn sum(&self, is_meant: impl Fn(Outcome, Option<&EndpointName>) -> bool) -> Weight {
        let meant = self.weights.iter().filter(|((outcome, who), _)| is_meant(*outcome, who.as_ref()));
        meant.map(|(_, weight)| weight).sum()
    }
}

/// True if a weight equals the share within the precision of rules.
///
/// kube-proxy prints probabilities with ten decimals, and the kernel rounds each to a multiple of 2^-31
/// (`xt_statistic`; `numgen` and schedulers are more precise). Each endpoint adds at most one such rule.
fn is_exactly(actual: &Weight, share: Share, endpoint_count: usize) -> bool {
    // Both sides of |m/2^e - n/d| <= c/2^31, multiplied by 2^31 * 2^e * d.
    let (numerator, denominator) = (BigUint::from(share.numerator()), BigUint::from(share.denominator()));
    let exponent = actual.exponent();
    let (actual, expected) = (actual.mantissa() * &denominator, numerator << exponent);
    let difference = if actual > expected { actual - expected } else { expected - actual };
    let tolerance = (denominator * endpoint_count.max(1)) << exponent;
    difference << 31_u32 <= tolerance
}

/// How often each endpoint answered; expected endpoints come first, in their order.
pub fn endpoint_shares(
    flows: &[FlowObservation],
    distribution: Option<&Distribution>,
    expected: Option<&[(EndpointName, Share)]>,
) -> Vec<EndpointShare> {
    let mut known: BTreeMap<Option<&EndpointName>, (u32, Weight)> = BTreeMap::new();
    for flow in flows {
        known.entry(flow.endpoint.as_ref()).or_insert((0, Weight::ZERO)).0 += 1;
    }
    for ((_, who), weight) in distribution.iter().flat_map(|all| &all.weights) {
        known.entry(who.as_ref()).or_insert((0, Weight::ZERO)).1 += weight;
    }
    let total = count(flows.len());
    let share = |endpoint: Option<&EndpointName>, expected, (count, weight)| EndpointShare {
        endpoint: endpoint.cloned(),
        expected,
        weight: distribution.is_some().then_some(weight),
        count,
        total,
    };
    let mut shares = Vec::new();
    for (name, expected) in expected.into_iter().flatten() {
        let seen = known.remove(&Some(name)).unwrap_or((0, Weight::ZERO));
        shares.push(share(Some(name), Some(*expected), seen));
    }
    let nobody = known.remove(&None);
    shares.extend(known.into_iter().map(|(name, seen)| share(name, None, seen)));
    // Named endpoints come before `None`.
    shares.extend(nobody.map(|seen| share(None, None, seen)));
    shares
}

/// Checks the shares of endpoints.
pub fn check_endpoints(shares: &[EndpointShare]) -> Vec<Failure> {
    let endpoint_count = shares.iter().filter(|share| share.endpoint.is_some()).count();
    let mut failures = Vec::new();
    for share in shares {
        let Some(endpoint) = &share.endpoint else { continue };
        let expected = share.expected.unwrap_or(Share::ZERO);
        let fault = match &share.weight {
            Some(weight) if !is_exactly(weight, expected, endpoint_count) => {
                Some(format!("{weight} ({:.6})", approximation(weight)))
            }
            Some(_) => None,
            None if expected == Share::ZERO && share.count > 0 => {
                Some(format!("{} of {} connections", share.count, share.total))
            }
            None => None,
        };
        failures.extend(fault.map(|found| Failure {
            subject: Subject::Endpoints,
            expected: format!("{endpoint} to answer {expected} of all connections"),
            found,
        }));
    }
    let categories = shares
        .iter()
        .filter(|share| share.endpoint.is_some())
        .map(|share| (share.expected.unwrap_or(Share::ZERO), share.count));
    failures.extend(check_counts(
        Subject::Endpoints,
        categories,
        shares.first().map_or(0, |share| share.total),
    ));
    failures
}

/// Checks the shares of outcomes.
pub fn check_outcomes(
    flows: &[FlowObservation],
    distribution: Option<&Distribution>,
    expected: &[(OutcomePattern, Share)],
) -> Vec<Failure> {
    let mut failures = Vec::new();
    if let Some(distribution) = distribution {
        let branches = distribution.weights.len();
        for (pattern, share) in expected {
            let weight = distribution.of_outcome(*pattern);
            if !is_exactly(&weight, *share, branches) {
                failures.push(Failure {
                    subject: Subject::Outcome,
                    expected: format!("{share} of all connections to end as {pattern}"),
                    found: format!("{weight} ({:.6})", approximation(&weight)),
                });
            }
        }
    }
    for flow in flows {
        if !expected.iter().any(|(pattern, share)| *share != Share::ZERO && pattern.fits(flow.outcome)) {
            failures.push(Failure {
                subject: Subject::Outcome,
                expected: expected
                    .iter()
                    .map(|(pattern, _)| pattern.to_string())
                    .collect::<Vec<_>>()
                    .join(" or "),
                found: OutcomePattern::exactly(flow.outcome).to_string(),
            });
            break;
        }
    }
    let counted = expected.iter().map(|(pattern, share)| {
        (*share, count(flows.iter().filter(|flow| pattern.fits(flow.outcome)).count()))
    });
    failures.extend(check_counts(Subject::Outcome, counted, count(flows.len())));
    failures
}

/// Checks counts against shares with a G-test; counts of zero shares must be zero.
fn check_counts(
    subject: Subject,
    categories: impl Iterator<Item = (Share, u32)>,
    total: u32,
) -> Option<Failure> {
    let mut shares = Vec::new();
    let mut counts = Vec::new();
    for (share, count) in categories {
        shares.push(share.as_f64());
        counts.push(count);
    }
    // The rest is a category of its own.
    let rest_share = 1.0 - shares.iter().sum::<f64>();
    let rest_count = total.saturating_sub(counts.iter().sum());
    const ROUNDING: f64 = 1e-9;
    shares.push(if rest_share < ROUNDING { 0.0 } else { rest_share });
    counts.push(rest_count);
    let test = GTest::new(&counts, &shares)?;
    (test.p_value < SIGNIFICANCE).then(|| Failure {
        subject,
        expected: format!("counts that fit the shares (G-test, significance {SIGNIFICANCE:e})"),
        found: format!("{counts:?} of {total}: G = {:.2}, p = {:.1e}", test.statistic, test.p_value),
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The nearest floating-point number; for display, never for a verdict.
pub fn approximation(weight: &Weight) -> f64 {
    const BITS: u32 = 53;
    let scaled = (weight.mantissa() << BITS) >> weight.exponent();
    // A probability has at most 54 bits here.
    let scaled = scaled.to_u64_digits().first().copied().unwrap_or(0);
    // Exact to the last bit of a double.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
    let scaled = scaled as f64;
    scaled / 2_f64.powi(BITS.cast_signed())
}

#[cfg(test)]
mod tests;
