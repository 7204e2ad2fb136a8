//! The answer as a JSON document for other programs.

use super::{Answer, AnswerCourse, AnswerHop, Decision};
use crate::json::Flow;
use crate::share;
use conformance::scenario::ProxyMode;
use serde::Serialize;

/// Version of the document. It changes only when a field is removed or changes its meaning.
const SCHEMA: &str = "hairpin-answer/v1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    schema: &'static str,
    mode: &'static str,
    courses: Vec<Course<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Course<'a> {
    /// The simplest fraction within the precision of the rules: `1/3`.
    probability: Option<String>,
    /// The exact probability: `715827883/2147483648`.
    weight: Option<String>,
    flow: Flow,
    lost: Option<&'a AnswerHop>,
    hops: &'a [AnswerHop],
    reply_hops: &'a [AnswerHop],
    decisions: &'a [Decision],
}

impl Answer {
    /// The document, which ends with a newline. Probabilities are null where a scheduler of IPVS chooses by what was before.
    pub fn json(&self, mode: ProxyMode) -> String {
        let courses = self.courses.iter().map(course).collect();
        let document = Document { schema: SCHEMA, mode: mode.name(), courses };
        let text = serde_json::to_string_pretty(&document).expect("strings and lists can be written");
        text + "\n"
    }
}

fn course(course: &AnswerCourse) -> Course<'_> {
    let AnswerCourse { weight, flow, lost, hops, reply_hops, decisions, recording: _ } = course;
    Course {
        probability: weight.as_ref().and_then(share::simplest).map(share::fraction_text),
        weight: weight.as_ref().map(ToString::to_string),
        flow: Flow::new(flow),
        lost: lost.as_ref(),
        hops,
        reply_hops,
        decisions,
    }
}
