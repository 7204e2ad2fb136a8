//! `behaviour/sysctls`: which settings there are, and their defaults.

use crate::recording::{rows_where, text};
use sim::ipvs::Settings;

#[test]
fn sysctls_have_the_recorded_names_and_defaults() {
    let rows = rows_where("behaviour/sysctls.jsonl", |row| !row["sysctl"].is_null());
    let recorded: Vec<(String, String)> =
        rows.iter().map(|row| (text(row, "sysctl").to_owned(), text(row, "default").to_owned())).collect();
    let settings = Settings::default();
    let here: Vec<(String, String)> =
        Settings::names().map(|name| (name.clone(), settings.get(&name).unwrap())).collect();
    assert_eq!(here, recorded);
}
