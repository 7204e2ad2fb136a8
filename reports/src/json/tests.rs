use super::{Document, SCHEMA, Share, render};
use crate::sample::run::{failed, passed};
use conformance::result::EndpointShare;
use conformance::scenario::Share as ExpectedShare;
use sim::draws::Weight;

const SCHEMA_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/report.schema.json");

/// Set this variable to write the schema instead of comparing it.
const UPDATE: &str = "UPDATE_SCHEMA";

#[test]
fn the_schema_of_the_document_is_the_committed_one() {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<Document>();
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(SCHEMA_PATH, &text).unwrap();
    }
    let committed = std::fs::read_to_string(SCHEMA_PATH).unwrap_or_default();
    assert_eq!(committed, text, "run `{UPDATE}=1 cargo test -p reports` and review the diff");
}

#[test]
fn what_is_written_is_what_the_schema_says() {
    let (passed, failed) = (passed(), failed());
    let text = render([(&passed, "nodeport-local"), (&failed, "nodeport-local")]);
    let document: Document = serde_json::from_str(&text).unwrap();
    let again = serde_json::to_string_pretty(&document).unwrap() + "\n";
    assert_eq!(again, text, "the document survives a round trip");
    assert_eq!(document.schema, SCHEMA);
    let verdicts: Vec<bool> = document.runs.iter().map(|run| run.passed).collect();
    assert_eq!(verdicts, [true, false]);
    assert_eq!(document.runs[0].steps[0].flows.len(), 64, "every connection is listed");
}

#[test]
fn a_document_reads_as_the_contract_says() {
    let mut run = failed();
    run.steps[0].flows.truncate(1);
    insta::assert_snapshot!(render([(&run, "nodeport-local")]));
}

#[test]
fn what_is_exact_is_what_the_rules_say_and_not_what_was_expected() {
    for (expected, weight, as_expected, as_exact) in [
        (Some((1, 3)), Some((715_827_883, 31)), Some("1/3"), Some("1/3")),
        (Some((1, 1)), Some((1, 1)), Some("1"), Some("1/2")),
        (Some((1, 2)), Some((0, 0)), Some("1/2"), Some("0")),
        (None, Some((1, 2)), None, Some("1/4")),
        // A kernel reports no weight; no simple fraction is close to the other value.
        (Some((1, 2)), None, Some("1/2"), None),
        (None, Some((1, 13)), None, None),
    ] {
        let share = EndpointShare {
            endpoint: None,
            expected: expected
                .and_then(|(numerator, denominator)| ExpectedShare::new(numerator, denominator)),
            weight: weight.map(|(numerator, exponent)| Weight::new(numerator, exponent)),
            count: 1,
            total: 2,
        };
        let share = Share::new(&share);
        let written = (share.expected.as_deref(), share.exact.as_deref());
        assert_eq!(written, (as_expected, as_exact), "{expected:?} {weight:?}");
    }
}
