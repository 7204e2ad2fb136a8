//! The kernel arm leaves nothing behind, even if it is killed, and reports missing requirements.
//!
//! Each test has its own machine: a network namespace and a mount namespace with rules, addresses and namespaces like
//! those of a host. hairpin runs in it as on a real host.

mod machine;

use machine::{Machine, TestResult, can_run};
use nix::sys::signal::Signal;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// It has Pods that come and go, connections that time out, and a sleep, so there is time to interrupt it.
const LONG: [&str; 4] = ["scenario", "nodeport-local", "--against", "kernel"];

#[test]
fn a_run_leaves_the_machine_as_it_was() -> TestResult {
    if !can_run("a_run_leaves_the_machine_as_it_was") {
        return Ok(());
    }
    let machine = Machine::new()?;
    let before = machine.state()?;
    assert!(before.contains("192.0.2.1") && before.contains("host-legacy") && before.contains("host-nft"));
    for backend in ["legacy", "nft"] {
        // It changes Pods, addresses, hairpin flags and sysctls.
        for scenario in ["udp-removed-endpoint", "bridge-nf-off"] {
            let arguments = ["scenario", scenario, "--against", "kernel", "--backend", backend];
            let output = machine.hairpin(&arguments).stderr(Stdio::piped()).output()?;
            let ran = matches!(output.status.code(), Some(0 | 1));
            assert!(ran, "{scenario}: {}", String::from_utf8_lossy(&output.stderr));
            assert_eq!(machine.state()?, before, "after {scenario} by {backend}");
        }
    }
    Ok(())
}

#[test]
fn a_suite_is_run_by_both_back_ends_at_once() -> TestResult {
    if !can_run("a_suite_is_run_by_both_back_ends_at_once") {
        return Ok(());
    }
    let machine = Machine::new()?;
    let arguments =
        ["conformance", "--against", "kernel", "--filter", "udp-removed or external-ip", "--json", "-"];
    let output = machine.hairpin(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    let ran = matches!(output.status.code(), Some(0 | 1));
    assert!(ran, "{}", String::from_utf8_lossy(&output.stderr));
    let document = String::from_utf8(output.stdout)?;
    let backends: Vec<&str> =
        document.lines().filter(|line| line.contains("\"backend\"")).map(str::trim).collect();
    let (legacy, nft) = ("\"backend\": \"legacy\",", "\"backend\": \"nft\",");
    assert_eq!(backends, [legacy, nft, legacy, nft]);
    assert!(document.contains("\"notRun\": []"), "{document}");
    Ok(())
}

/// Delays after the first namespace exists: during network setup, while rules are loaded, during connections.
const MOMENTS: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(60), Duration::from_millis(250), Duration::from_millis(900)];

#[test]
fn what_a_killed_run_left_is_swept_up() -> TestResult {
    if !can_run("what_a_killed_run_left_is_swept_up") {
        return Ok(());
    }
    let machine = Machine::new()?;
    let before = machine.state()?;
    for moment in MOMENTS {
        let mut run = machine.hairpin(&LONG).spawn()?;
        let pid = run.id();
        machine.wait_for_lab(pid)?;
        thread::sleep(moment);
        run.kill()?;
        run.wait()?;
        let inside = machine.left_by(pid)?;
        assert!(!inside.is_empty(), "no netns remains after {moment:?}: nothing to test");
        let output =
            machine.hairpin(&["lab", "clean"]).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
        let said = String::from_utf8(output.stdout)?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(said.lines().count(), inside.len(), "{said}");
        assert!(said.contains(&format!("removed hp-{pid}-")), "{said}");
        assert_eq!(machine.state()?, before, "after {moment:?}");
        assert_eq!(machine::processes_in(&inside)?, Vec::<u32>::new(), "after {moment:?}");
    }
    let again = machine.hairpin(&["lab", "clean"]).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    assert_eq!(String::from_utf8(again.stdout)?, "nothing to remove\n");
    Ok(())
}

#[test]
fn a_sweep_leaves_runs_alone_that_go_on() -> TestResult {
    if !can_run("a_sweep_leaves_runs_alone_that_go_on") {
        return Ok(());
    }
    let machine = Machine::new()?;
    let mut run = machine.hairpin(&LONG).spawn()?;
    machine.wait_for_lab(run.id())?;
    let swept = machine.hairpin(&["lab", "clean"]).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    assert_eq!(String::from_utf8(swept.stdout)?, "nothing to remove\n");
    assert!(matches!(run.wait()?.code(), Some(0 | 1)), "the run was not disturbed");
    Ok(())
}

#[test]
fn a_signal_tears_the_lab_down() -> TestResult {
    if !can_run("a_signal_tears_the_lab_down") {
        return Ok(());
    }
    let machine = Machine::new()?;
    let before = machine.state()?;
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        for moment in MOMENTS {
            let mut run = machine.hairpin(&LONG).spawn()?;
            let pid = run.id();
            machine.wait_for_lab(pid)?;
            thread::sleep(moment);
            machine::signal(pid, signal)?;
            // The exit code of a shell.
            assert_eq!(run.wait()?.code(), Some(128 + signal as i32), "{signal} after {moment:?}");
            assert!(machine.netns_of(pid)?.is_empty(), "{signal} after {moment:?}");
            assert_eq!(machine.state()?, before, "{signal} after {moment:?}");
        }
    }
    Ok(())
}

#[test]
fn ctrl_c_tears_down_every_lab_of_a_suite() -> TestResult {
    if !can_run("ctrl_c_tears_down_every_lab_of_a_suite") {
        return Ok(());
    }
    let machine = Machine::new()?;
    let before = machine.state()?;
    let mut run = machine.hairpin(&["conformance", "--against", "kernel", "--jobs", "3"]).spawn()?;
    machine.wait_for_lab(run.id())?;
    thread::sleep(Duration::from_millis(700));
    // A terminal sends it to the whole process group.
    machine::signal_group(run.id(), Signal::SIGINT)?;
    assert_eq!(run.wait()?.code(), Some(130));
    assert_eq!(machine.state()?, before);
    Ok(())
}

#[test]
fn who_is_not_root_is_told_so() -> TestResult {
    if !can_run("who_is_not_root_is_told_so") {
        return Ok(());
    }
    let machine = Machine::new()?;
    for arguments in [&LONG[..], &["conformance", "--against", "kernel", "--backend", "nft"]] {
        let output = machine.hairpin_as_nobody(arguments)?.stderr(Stdio::piped()).output()?;
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        let said = String::from_utf8(output.stderr)?;
        assert!(said.contains("root privileges are missing: run with sudo"), "{said}");
    }
    Ok(())
}

#[test]
fn a_missing_tool_is_named_with_its_package() -> TestResult {
    if !can_run("a_missing_tool_is_named_with_its_package") {
        return Ok(());
    }
    let machine = Machine::new()?;
    let run = |arguments: &[&str]| -> TestResult<(Option<i32>, String)> {
        let output = machine.hairpin(arguments).stderr(Stdio::piped()).output()?;
        Ok((output.status.code(), String::from_utf8(output.stderr)?))
    };
    machine.hide("iptables-legacy-restore")?;
    let suite = ["conformance", "--against", "kernel", "--filter", "udp"];
    let (code, said) = run(&suite)?;
    assert_eq!(code, Some(3));
    let expected = "`iptables-legacy-restore` is missing: install the package iptables";
    assert!(said.contains(expected) && !said.contains("iptables-nft"), "{said}");
    // Requirements that are met are not reported.
    let (code, said) = run(&[&suite[..], &["--backend", "nft"]].concat())?;
    assert!(matches!(code, Some(0 | 1)), "{code:?} {said}");
    // Requirements of few scenarios are reported only when one of them needs it.
    machine.hide("nft")?;
    let (code, said) = run(&["scenario", "nat-syn-retry", "--against", "kernel", "--backend", "nft"])?;
    assert_eq!(code, Some(3));
    assert!(said.contains("`nft` is missing: install the package nftables"), "{said}");
    machine.hide("conntrack")?;
    let (code, said) = run(&LONG)?;
    assert_eq!(code, Some(3));
    assert!(said.contains("`conntrack` is missing: install the package conntrack"), "{said}");
    assert!(!said.contains("root privileges are missing"), "{said}");
    Ok(())
}
