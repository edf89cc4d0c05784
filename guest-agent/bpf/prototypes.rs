// SPDX-License-Identifier: Apache-2.0
//! What the programs take their hooks' arguments for, read from their source.
//!
//! Text of `hooks/*.bpf.c` flows in, the Rust source of a table flows out: the compiler keeps none of
//! it, since `BPF_PROG` makes an inline function of each program.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};

/// The table of all programs in these sources, as an expression.
pub(crate) fn table(sources: &[String]) -> Result<String> {
    let mut table = String::from("&[\n");
    for source in sources {
        for section in source.split("SEC(\"lsm/").skip(1) {
            table += &row(section)?;
        }
    }
    table.push(']');
    Ok(table)
}

/// `HOOK")\nint BPF_PROG(NAME, struct file *file, int ret)\n...`
fn row(section: &str) -> Result<String> {
    let (hook, rest) = section.split_once("\")").context("a section without an end")?;
    let declared =
        rest.trim_start().strip_prefix("int BPF_PROG(").and_then(|it| it.split_once(')'));
    let (declared, _) = declared.with_context(|| format!("hook {hook} has no BPF_PROG"))?;
    let mut words = declared.split(',').map(str::trim);
    let program = words.next().context("a program without a name")?;
    let mut arguments: Vec<_> = words.collect();
    let reads_verdict = arguments.last() == Some(&"int ret");
    if reads_verdict {
        arguments.pop();
    }
    let mut row = format!("Prototype {{ program: {program:?}, hook: {hook:?}, arguments: &[");
    for argument in arguments {
        write!(row, "{}, ", of(argument).with_context(|| format!("{program}: {argument}"))?)?;
    }
    writeln!(row, "], reads_verdict: {reads_verdict} }},")?;
    Ok(row)
}

/// `const struct path *path` is a pointer to `path`, `unsigned int mode` are four bytes.
fn of(argument: &str) -> Result<String> {
    if argument.contains("**") {
        return Ok("Argument::Pointer(\"\")".into());
    }
    if let Some((pointee, _)) = argument.split_once('*') {
        let words: Vec<_> = pointee.split_whitespace().filter(|word| *word != "const").collect();
        return match words[..] {
            ["struct" | "union", name] => Ok(format!("Argument::Pointer({name:?})")),
            ["char" | "void"] => Ok("Argument::Pointer(\"\")".into()),
            _ => bail!("a pointer to {pointee:?}"),
        };
    }
    let (kind, _) = argument.rsplit_once(' ').context("an argument without a name")?;
    let size = match kind.trim() {
        "bool" => 1,
        "unsigned short" => 2,
        "int" | "unsigned int" => 4,
        "long" | "unsigned long" => 8,
        other => bail!("the size of {other:?}"),
    };
    Ok(format!("Argument::Value({size})"))
}
