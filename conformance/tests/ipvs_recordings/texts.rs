//! `behaviour/listings.txt` and `packets/*/loaded/ipvsadm.txt`: what `ipvsadm` accepts and prints.

use crate::lab::Lab;
use crate::recording::folder;
use sim::ipvs::ListOrder;
use std::fs;

/// A command of a transcript, and what it printed.
struct Call {
    command: String,
    output: String,
}

fn transcript(text: &str) -> Vec<Call> {
    let blocks = text.split("$ ").skip(1);
    let call = |block: &str| {
        let (command, output) = block.split_once('\n').unwrap();
        // An empty line ends the output.
        let output = output.split_once("\n\n").map_or(output, |(output, _)| output);
        Call { command: command.to_owned(), output: output.trim_start_matches('\n').to_owned() }
    };
    blocks.map(call).collect()
}

#[test]
fn commands_and_listings_are_those_of_ipvsadm() {
    let text = fs::read_to_string(folder().join("behaviour/listings.txt")).unwrap();
    let mut lab = Lab::new();
    let (mut commands, mut listings) = (0, 0);
    for Call { command, output } in transcript(&text) {
        let same = |here: String| {
            assert_eq!(here.trim_end_matches('\n'), output.trim_end_matches('\n'), "{command}")
        };
        match command.strip_prefix("ipvsadm ") {
            Some(arguments) if is_change(arguments) => {
                commands += 1;
                change(&mut lab, arguments, &output);
                continue;
            }
            Some("-Ln" | "-L -n --sort") => same(lab.ipvs.list(ListOrder::Sorted)),
            Some("-L -n --nosort") => {
                assert_eq!(services(&lab.ipvs.list(ListOrder::Kernel)), services(&output), "{command}");
            }
            Some("-Sn") => same(lab.ipvs.save()),
            // From here on the transcript has connections, and then other services.
            Some("-Lnc") => break,
            Some(_) | None => continue,
        }
        listings += 1;
    }
    assert!(commands > 30 && listings >= 4, "{commands} commands and {listings} listings");
}

fn is_change(arguments: &str) -> bool {
    ["-A ", "-E ", "-D ", "-C", "-a ", "-e ", "-d "].iter().any(|command| arguments.starts_with(command))
}

/// Runs a command, which succeeds if the tool printed nothing. A refusal of the kernel has the tool's words.
fn change(lab: &mut Lab, arguments: &str, output: &str) {
    let result = lab.ipvs.restore(lab.clock, "listings.txt", arguments);
    assert_eq!(result.is_ok(), output.is_empty(), "{arguments}: {result:?}, recorded {output:?}");
    if let Err(error) = result
        && error.help.is_some()
    {
        assert!(error.to_string().contains(output), "{arguments}: {error}, recorded {output:?}");
    }
}

/// The services of a listing with their servers, in any order: the kernel's depends on the address of a structure.
fn services(listing: &str) -> Vec<Vec<&str>> {
    let lines: Vec<&str> = listing.lines().skip(3).map(str::trim_end).collect();
    let mut services: Vec<Vec<&str>> =
        lines.chunk_by(|_, next| next.starts_with("  ->")).map(<[&str]>::to_vec).collect();
    services.sort();
    services
}

#[test]
fn what_is_saved_can_be_restored() {
    let text = fs::read_to_string(folder().join("behaviour/listings.txt")).unwrap();
    let saved: Vec<String> = transcript(&text)
        .into_iter()
        .filter(|call| call.command == "ipvsadm -Sn")
        .map(|call| call.output.trim_end_matches('\n').to_owned() + "\n")
        .collect();
    assert!(!saved.is_empty(), "no listing was read");
    for saved in saved {
        let mut lab = Lab::new();
        lab.ipvs.restore(lab.clock, "listings.txt", &saved).unwrap();
        assert_eq!(lab.ipvs.save(), saved);
    }
}

/// The texts of the packet recordings, which are kube-proxy's; an excerpt has none.
#[test]
fn texts_of_kube_proxy_are_loaded() {
    let Ok(cases) = fs::read_dir(folder().join("packets")) else { return };
    for case in cases {
        let path = case.unwrap().path();
        let loaded = fs::read_to_string(path.join("loaded/ipvsadm.txt")).unwrap();
        let end = fs::read_to_string(path.join("end/ipvsadm.txt")).unwrap();
        let mut lab = Lab::new();
        lab.ipvs.restore(lab.clock, "ipvsadm.txt", &loaded).unwrap();
        let saved: String = end
            .lines()
            .filter(|line| line.starts_with("-A ") || line.starts_with("-a "))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(lab.ipvs.save(), saved, "{}", path.display());
    }
}
