//! ExecStart= and the variables of an EnvironmentFile=, which anybody wrote: what is read is written so that it is read
//! again, what is not ours survives a take-over in order, and nothing but systemd's sockets is listened on.
#![no_main]

use dockseal::docker::{ExecLine, docker_host, unit};
use dockseal_fuzz::parts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let parts: Vec<String> = parts(input).iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
    let environment = parts.get(1).map(String::as_str).unwrap_or_default();
    let variables = |name: &str| unit::variable(environment, name);
    let argv: Vec<String> = parts[0].split('\n').map(str::to_owned).collect();
    let lines = [ExecLine::parse(&parts[0]), ExecLine::from_argv(&argv)];
    if let Ok(line) = &lines[1] {
        assert_eq!(line.argv(), argv);
    }
    for line in lines.into_iter().flatten() {
        assert_eq!(ExecLine::parse(&line.render()).as_ref(), Ok(&line));
        let expanded = line.expanded(&variables);
        let inlined = line.inlined(&variables);
        assert_eq!(inlined.expanded(&variables), expanded);
        assert_taken_over(&expanded);
        assert_eq!(inlined.taken_over().expanded(&variables), expanded.taken_over());
    }
});

fn assert_taken_over(before: &ExecLine) {
    let after = before.taken_over();
    assert!(after.listeners() == ["fd://"] && after.tls_flags().is_empty() && !after.must_change());
    assert_eq!(after.taken_over(), after);
    assert_eq!(after.config_file(), before.config_file());
    let (words, kept) = (before.argv(), after.argv());
    let without = |at: usize| [&kept[..at], &kept[at + 2..]].concat();
    let mut pairs = (0..kept.len() - 1).filter(|at| kept[*at..at + 2] == ["-H", "fd://"]);
    assert!(pairs.any(|at| in_order(&without(at), &words)), "{words:?}: {kept:?}");
    for listener in before.listeners() {
        let _ = docker_host(&listener, true).ip();
    }
}

/// Is `few` in `many`, in this order? A cluster may have lost its -H.
fn in_order(few: &[String], many: &[String]) -> bool {
    let mut many = many.iter();
    let same =
        |word: &str, other: &str| other == word || other.strip_prefix(word).is_some_and(|rest| rest.starts_with('H'));
    few.iter().all(|word| many.any(|other| same(word, other)))
}
