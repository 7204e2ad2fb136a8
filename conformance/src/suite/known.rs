//! Known differences between simulator and kernel, and the verdict of a run.

use crate::arm::ArmError;
use crate::backend::Backend;
use crate::result::RunResult;
use crate::scenario::ProxyMode;

/// A run against the kernel that is expected to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownDifference {
    /// The scenario's name.
    pub scenario: &'static str,
    /// How kube-proxy implements Services.
    pub mode: ProxyMode,
    /// The iptables back end.
    pub backend: Backend,
    /// The reason, in one sentence.
    pub reason: &'static str,
}

/// All known differences. The suite fails until a row whose run passes is removed.
pub const KNOWN_DIFFERENCES: [KnownDifference; 0] = [];

/// The verdict of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaseStatus {
    /// Every expectation held, and the arms agree.
    Passed,
    /// An expectation failed, or the arms differ.
    Failed,
    /// It failed, for a known reason.
    KnownDifference(&'static str),
    /// It passed although listed as a known difference, with that reason.
    UnexpectedPass(&'static str),
    /// It could not be completed.
    NotRun,
}

impl CaseStatus {
    /// The verdict of an outcome, given the known differences. `backend` is `None` on the simulator, which has no known
    /// differences.
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

    /// The reason if the run is listed as a known difference, whether or not it failed.
    pub const fn known_difference(self) -> Option<&'static str> {
        match self {
            Self::KnownDifference(reason) | Self::UnexpectedPass(reason) => Some(reason),
            Self::Passed | Self::Failed | Self::NotRun => None,
        }
    }

    /// True if the suite may pass with this verdict.
    pub const fn is_as_expected(self) -> bool {
        match self {
            Self::Passed | Self::KnownDifference(_) => true,
            Self::Failed | Self::UnexpectedPass(_) | Self::NotRun => false,
        }
    }
}
