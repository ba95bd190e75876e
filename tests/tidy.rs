//! The house rules of `src/` that no compiler checks: what the core may not name, and which way its modules depend on each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The core has no clock, socket, thread, file, environment, randomness of the system or map in random order.
#[test]
fn the_core_names_nothing_of_the_world_outside() {
    let forbidden = [
        "Instant::now",
        "SystemTime",
        "std::net",
        "std::thread",
        "thread_local",
        "std::fs",
        "std::env",
        "std::process",
        "getrandom",
        "OsRng",
        "ThreadRng",
        "HashMap",
        "HashSet",
        "RandomState",
        "println!",
        "eprintln!",
    ];
    let mut found = Vec::new();
    for file in sources("") {
        for (number, line) in code_lines(&file) {
            found.extend(forbidden.iter().filter(|name| line.contains(**name)).map(|name| at(&file, number, name)));
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Arrows point down: connection → handshake, buffer → frame; and nothing below the connection knows what time it is.
#[test]
fn modules_depend_downwards_only() {
    let rules: [(&str, &[&str]); 7] = [
        ("frame", &["message", "buffer", "handshake", "deflate", "proxy", "json", "connection", "client"]),
        ("buffer", &["handshake", "deflate", "proxy", "json", "connection", "client"]),
        ("handshake", &["buffer", "deflate", "proxy", "json", "connection", "client"]),
        ("deflate", &["buffer", "proxy", "json", "connection", "client"]),
        ("proxy", &["deflate", "json", "connection", "client"]),
        ("json", &["frame", "buffer", "handshake", "deflate", "proxy", "connection", "client"]),
        ("connection", &["proxy", "json", "client"]),
    ];
    let mut found = Vec::new();
    for (module, above) in rules {
        let files = sources(module);
        assert!(!files.is_empty(), "src/{module} is gone: mend this test");
        for file in files {
            for (number, line) in code_lines(&file) {
                for name in above {
                    // `super::super` from a module's own folder would be the crate, too.
                    if names_module(&line, name) {
                        found.push(at(&file, number, name));
                    }
                }
                if ["frame", "buffer", "handshake", "deflate"].contains(&module) && names_word(&line, "Instant") {
                    found.push(at(&file, number, "Instant"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// `ARCHITECTURE.md` shows what the core builds on, as it is.
#[test]
fn the_map_shows_the_dependencies_of_the_core() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tree = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "-p", "sansocket", "-e", "normal,no-proc-macro", "--format", "{lib}"])
        .args(["--charset", "utf8", "--target", "x86_64-unknown-linux-gnu"])
        .current_dir(root)
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.starts_with("sansocket\n"), "cargo tree says {tree:?}");
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    assert!(map.contains(&tree), "ARCHITECTURE.md should hold this:\n\n{tree}");
}

/// Every row of `SECURITY.md` names tests, and each of them is one.
#[test]
fn the_tests_of_the_security_page_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let code: String = ["src", "tests", "adapters"].iter().flat_map(|folder| rust_files(&root.join(folder))).collect();
    let tests = tests_of(&code);
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() >= 20, "{rows:?}");
    for row in rows {
        let columns: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [_, _, named] = columns[..] else { panic!("{} columns: {row}", columns.len()) };
        assert!(named.contains('`'), "no test is named: {row}");
        for test in named.split('`').skip(1).step_by(2) {
            assert!(tests.contains(test), "SECURITY.md names {test}, which is no test");
        }
    }
}

/// The names of the functions behind `#[test]` and its like, other attributes and comments between them or not.
fn tests_of(code: &str) -> BTreeSet<&str> {
    let mut tests = BTreeSet::new();
    let mut is_test = false;
    for line in code.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            let name = line.split_once("fn ").and_then(|(_, rest)| rest.split(['(', '<']).next());
            tests.extend(name.filter(|_| is_test));
            is_test = false;
        }
    }
    tests
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    let code = "#[test]\n#[cfg(unix)]\n// Why.\nfn a() {\n}\nfn b() {}\n#[tokio::test]\nasync fn c() {}\n// #[test]\nfn d() {}\n";
    assert_eq!(tests_of(code), BTreeSet::from(["a", "c"]));
}

fn rust_files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
    found
}

#[test]
fn unsafe_code_stays_where_it_is_declared() {
    let mut found = Vec::new();
    for file in sources("") {
        if file.ends_with("frame/unchecked.rs") {
            continue;
        }
        for (number, line) in code_lines(&file) {
            if names_word(&line, "unsafe") {
                found.push(at(&file, number, "unsafe"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// The test can fail: it sees through comments and test modules, and nothing else.
#[test]
fn comments_and_test_modules_are_left_out_and_nothing_else() {
    let text = r##"
//! Instant::now in a doc
use a; // HashMap behind code
/* SystemTime
   std::net */ use b;
let s = "// no comment"; let t = 'x'; use c;
let r = r#"/* no comment "either" "#; use d;
#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    fn f() { let brace = "}"; }
}
use e;
#[cfg(test)]
mod elsewhere;
fn lives<'a>(s: &'a str) { use f; }
#[cfg(any(test, fuzzing))]
pub mod elsewhere;
use g;
"##;
    let code: String = code_of(text).into_iter().map(|(_, line)| line + "\n").collect();
    for kept in ["use a;", "use b;", "use c;", "use d;", "use e;", "use f;", "use g;"] {
        assert!(code.contains(kept), "{kept} is missing in:\n{code}");
    }
    for hidden in ["Instant", "HashMap", "SystemTime", "std::net", "elsewhere"] {
        assert!(!code.contains(hidden), "{hidden} is left in:\n{code}");
    }
    assert_eq!(code_of("a\n// b\nc")[1], (3, "c".to_owned()));
    assert!(names_module("use crate::connection::Config;", "connection"));
    assert!(names_module("use crate::{connection, frame};", "connection"));
    assert!(names_module("use super::super::connection;", "connection"));
    assert!(!names_module("if connection.is_open() {", "connection"));
    assert!(!names_module("use crate::handshake::server;", "server"));
}

/// Whether a line names a module at the root of the crate.
fn names_module(line: &str, module: &str) -> bool {
    let from_root = ["crate::", "super::super::", "sansocket::"];
    from_root.iter().any(|root| {
        line.match_indices(root).any(|(at, _)| {
            let rest = &line[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => names_word(group.split('}').next().unwrap_or_default(), module),
                None => rest.split(|c: char| !is_word(c)).next() == Some(module),
            }
        })
    })
}

fn names_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !is_word(c)).any(|found| found == word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn at(file: &Path, line: usize, name: &str) -> String {
    format!("{}:{line} names {name}", file.display())
}

/// The source files below `src/{module}`, but for those that hold tests only.
fn sources(module: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module);
    let mut files = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let of_tests: Vec<PathBuf> = files.iter().flat_map(|file| test_modules_of(file)).collect();
    files.retain(|file| {
        !of_tests.iter().any(|of_tests| file == of_tests || file.starts_with(of_tests.with_extension("")))
    });
    files.sort();
    files
}

/// The files of the modules that `file` declares for tests or fuzzing only.
fn test_modules_of(file: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap();
    let is_root = ["mod.rs", "lib.rs"].iter().any(|root| file.ends_with(root));
    let folder = if is_root { file.parent().unwrap().to_owned() } else { file.with_extension("") };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| is_for_tests(pair[0])).filter_map(|pair| {
        let name = pair[1].strip_prefix("pub ").unwrap_or(pair[1]).strip_prefix("mod ")?.strip_suffix(';')?;
        Some(folder.join(name).with_extension("rs"))
    });
    declared.collect()
}

fn is_for_tests(line: &str) -> bool {
    ["#[cfg(test)]", "#[cfg(fuzzing)]", "#[cfg(any(test, fuzzing))]"].contains(&line.trim())
}

fn code_lines(file: &Path) -> Vec<(usize, String)> {
    code_of(&fs::read_to_string(file).unwrap())
}

/// The lines of a source without comments, the content of strings, and what stands behind `#[cfg(test)]`; with their numbers.
fn code_of(text: &str) -> Vec<(usize, String)> {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skip = |len: usize| rest.split_at(len.min(rest.len()));
        let (hidden, after) = if rest.starts_with("//") {
            skip(rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            skip(rest.find("*/").map_or(rest.len(), |at| at + 2))
        } else if rest.starts_with("r#\"") {
            skip(rest.find("\"#").map_or(rest.len(), |at| at + 2))
        } else if first == '"' {
            skip(string_len(rest, '"'))
        } else if first == '\'' && is_char_literal(rest) {
            skip(string_len(rest, '\''))
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.extend(hidden.chars().filter(|c| *c == '\n'));
        rest = after;
    }
    without_tests(&code)
}

fn string_len(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Tells `'x'` from a lifetime.
fn is_char_literal(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => true,
        (_, second) => second == Some('\''),
    }
}

fn without_tests(code: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    // How deep inside an item for tests, and whether its first brace has come.
    let (mut depth, mut in_tests, mut has_begun) = (0_i32, false, false);
    for (number, line) in (1..).zip(code.lines()) {
        if is_for_tests(line) {
            (depth, in_tests, has_begun) = (0, true, false);
            continue;
        }
        if !in_tests {
            if !line.trim().is_empty() {
                lines.push((number, line.to_owned()));
            }
            continue;
        }
        for c in line.chars() {
            match c {
                '{' => (depth, has_begun) = (depth + 1, true),
                '}' => depth -= 1,
                _ => {}
            }
        }
        let is_over = if has_begun { depth == 0 } else { line.contains(';') };
        in_tests = !is_over;
    }
    lines
}
