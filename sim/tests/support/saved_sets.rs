//! Saved sets without details that differ between runs of a kernel.

/// Ignores the order of elements and the secret of a hash, and rounds seconds to tens.
pub(crate) fn comparable(saved: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut elements = Vec::new();
    let mut is_list = false;
    for line in saved.lines() {
        let is_element = line.starts_with("add ");
        if !is_element {
            elements.sort();
            lines.append(&mut elements);
            is_list = line.contains(" list:set ");
        }
        let line = rounded(line.split(" initval ").next().unwrap());
        if is_element && !is_list {
            elements.push(line);
        } else {
            lines.push(line);
        }
    }
    elements.sort();
    lines.append(&mut elements);
    lines
}

fn rounded(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    if line.starts_with("add ")
        && let Some(at) = words.iter().position(|word| word == "timeout")
        && let Some(seconds) = words.get(at + 1).and_then(|word| word.parse::<u64>().ok())
    {
        words[at + 1] = seconds.next_multiple_of(10).to_string();
    }
    words.join(" ")
}
