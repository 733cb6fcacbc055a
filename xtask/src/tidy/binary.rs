//! What is promised of the binary that is PID 1: static, and small.

use anyhow::{Context, Result, bail, ensure};

use crate::dist::Target;

/// Contract, chapter 1: small. Bytes, stripped.
const INIT_BUDGET: usize = 2_000_000;

/// Checks the `herm-init` of the last build for distribution, if there was one.
pub(crate) fn check() -> Result<()> {
    let path = Target::host()?.init_binary();
    let Ok(content) = std::fs::read(&path) else {
        println!("binary: no build for distribution yet (`cargo xtask dist`)");
        return Ok(());
    };
    ensure!(
        !has_interpreter(&content).context("herm-init")?,
        "{} is linked dynamically",
        path.display()
    );
    ensure!(
        content.len() < INIT_BUDGET,
        "{} has {} bytes; its budget is {INIT_BUDGET}",
        path.display(),
        content.len()
    );
    println!(
        "binary: herm-init is static and has {} bytes of {INIT_BUDGET}",
        content.len()
    );
    Ok(())
}

/// True if an ELF file names a dynamic linker (a program header of type `PT_INTERP`, elf(5)).
fn has_interpreter(elf: &[u8]) -> Result<bool> {
    const PT_INTERP: u64 = 3;
    if elf.get(..6) != Some(b"\x7fELF\x02\x01") {
        bail!("not a 64-bit little-endian ELF file");
    }
    let table = number(elf, 32, 8)?;
    let (entry_size, count) = (number(elf, 54, 2)?, number(elf, 56, 2)?);
    for index in 0..count {
        if number(elf, table + index * entry_size, 4)? == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The unsigned little-endian number of `length` bytes at `offset`.
fn number(bytes: &[u8], offset: u64, length: usize) -> Result<u64> {
    let start = usize::try_from(offset)?;
    let field = start
        .checked_add(length)
        .and_then(|end| bytes.get(start..end))
        .context("ELF file cut short")?;
    Ok(field
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(program_header_types: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = u8::try_from(program_header_types.len()).unwrap();
        for kind in program_header_types {
            let start = file.len();
            file.resize(start + 56, 0);
            file[start] = *kind;
        }
        file
    }

    #[test]
    fn a_program_header_for_the_interpreter_makes_a_binary_dynamic() {
        assert!(has_interpreter(&elf(&[6, 3, 1])).unwrap());
        assert!(!has_interpreter(&elf(&[1, 1, 2])).unwrap());
    }

    #[test]
    fn this_test_binary_is_dynamic() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        assert!(has_interpreter(&own).unwrap());
    }

    #[test]
    fn what_is_no_elf_file_is_an_error_and_not_static() {
        has_interpreter(b"#!/bin/sh\n").unwrap_err();
        has_interpreter(&elf(&[1])[..66]).unwrap_err();
    }
}
