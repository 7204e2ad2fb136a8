//! Where the simulator and the kernel are known to differ, and what a run comes to.

use crate::arm::ArmError;
use crate::backend::Backend;
use crate::result::RunResult;
use crate::scenario::ProxyMode;

/// A run against the kernel that is known to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownDifference {
    /// The scenario's name.
    pub scenario: &'static str,
    /// How kube-proxy implements Services.
    pub mode: ProxyMode,
    /// Which iptables loads the rules.
    pub backend: Backend,
    /// Why, in one sentence.
    pub reason: &'static str,
}

/// All that are known. A row goes as soon as its run passes: until then the suite fails.
pub const KNOWN_DIFFERENCES: [KnownDifference; 0] = [];

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaseStatus {
    /// Every expectation held, and all arms agree.
    Passed,
    /// Something is otherwise than expected.
    Failed,
    /// It failed, for a reason that is known.
    KnownDifference(&'static str),
    /// It passed although it is known to fail, for that reason.
    UnexpectedPass(&'static str),
    /// It could not be run to its end.
    NotRun,
}

impl CaseStatus {
    /// What the outcome of a run comes to, if these differences are known. `backend` is `None` on the simulator, of which no
    /// difference is known.
    pub fn of(
        outcome: &Result<RunResult, ArmError>,
        scenario: &str,
        mode: ProxyMode,
        backend: Option<Backend>,
        known: &[KnownDifference],
    ) -> Self {
        let is_it = |row: &&KnownDifference| {
            row.scenario == scenario && row.mode == mode && Some(row.backend) == backend
        };
        match (outcome, known.iter().find(is_it)) {
            (Err(_), _) => Self::NotRun,
            (Ok(result), Some(row)) if result.passed() => Self::UnexpectedPass(row.reason),
            (Ok(_), Some(row)) => Self::KnownDifference(row.reason),
            (Ok(result), None) if result.passed() => Self::Passed,
            (Ok(_), None) => Self::Failed,
        }
    }

    /// Why the run is known to fail, whether or not it did.
    pub const fn known_difference(self) -> Option<&'static str> {
        match self {
            Self::KnownDifference(reason) | Self::UnexpectedPass(reason) => Some(reason),
            Self::Passed | Self::Failed | Self::NotRun => None,
        }
    }

    /// Whether the suite may pass with it.
    pub const fn is_as_expected(self) -> bool {
        match self {
            Self::Passed | Self::KnownDifference(_) => true,
            Self::Failed | Self::UnexpectedPass(_) | Self::NotRun => false,
        }
    }
}
