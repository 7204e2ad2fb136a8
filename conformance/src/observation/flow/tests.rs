use super::*;

#[test]
fn answers_are_read() {
    let answer = Answer::parse(b"default/web-0 10.244.1.1:40000 10.244.1.2:8080\n").unwrap();
    assert_eq!(answer.name, "default/web-0");
    assert_eq!(answer.peer, "10.244.1.1:40000".parse().unwrap());
    assert_eq!(answer.local, "10.244.1.2:8080".parse().unwrap());
    let none: [&[u8]; 5] = [
        b"",
        b"web\n",
        b"web 1.2.3.4:5 1.2.3.4:6",
        b"web 1.2.3.4:5 1.2.3.4:6 x\n",
        b"\xff 1.2.3.4:5 1.2.3.4:6\n",
    ];
    for line in none {
        assert_eq!(Answer::parse(line), None, "{line:?}");
    }
}
