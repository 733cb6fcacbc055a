//! POSIX extended regular expressions (`regex(7)`, the C locale), matched in time proportional to
//! the product of pattern and line whatever both are. There are no references back to groups.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::glob::in_class;

/// Most instructions that a pattern may come to.
const INSTRUCTIONS_MAX: usize = 20_000;
/// Most groups inside each other.
const DEPTH_MAX: usize = 100;
/// Most repetitions that can be asked for (`RE_DUP_MAX`).
const REPETITIONS_MAX: u32 = 255;

/// A pattern that can be matched.
#[derive(Clone, Debug)]
pub struct Regex {
    program: Vec<Instruction>,
}

/// A pattern that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPattern;

#[derive(Clone, Debug)]
enum Instruction {
    Byte(u8),
    Any,
    Set(Box<[bool; 256]>),
    /// Both ways, by their distance from here.
    Split(isize, isize),
    Jump(isize),
    LineStart,
    LineEnd,
    Found,
}

impl Regex {
    /// Reads a pattern.
    pub fn new(pattern: &[u8]) -> Result<Self, BadPattern> {
        let mut parser = Parser { rest: pattern };
        let mut program = parser.alternation(0)?;
        if !parser.rest.is_empty() {
            return Err(BadPattern);
        }
        program.push(Instruction::Found);
        Ok(Self { program })
    }

    /// Whether it matches anywhere in a line.
    pub fn matches(&self, line: &[u8]) -> bool {
        let mut now = States::new(self.program.len());
        let mut next = States::new(self.program.len());
        for at in 0..=line.len() {
            if self.enter(0, at, line.len(), &mut now) {
                return true;
            }
            let Some(byte) = line.get(at) else { break };
            next.clear();
            for index in 0..now.list.len() {
                let Some(state) = now.list.get(index).copied() else {
                    break;
                };
                let takes = match self.program.get(state) {
                    Some(Instruction::Byte(wanted)) => wanted == byte,
                    Some(Instruction::Any) => true,
                    Some(Instruction::Set(set)) => set.get(usize::from(*byte)) == Some(&true),
                    _ => false,
                };
                if takes
                    && self.enter(
                        state.saturating_add(1),
                        at.saturating_add(1),
                        line.len(),
                        &mut next,
                    )
                {
                    return true;
                }
            }
            core::mem::swap(&mut now, &mut next);
        }
        false
    }

    /// Adds a state and all that are reached without a byte; whether the match is found.
    fn enter(&self, state: usize, at: usize, end: usize, states: &mut States) -> bool {
        let mut waiting = alloc::vec![state];
        while let Some(state) = waiting.pop() {
            if !states.add(state) {
                continue;
            }
            let by = |distance: isize| state.saturating_add_signed(distance);
            match self.program.get(state) {
                Some(Instruction::Found) => return true,
                Some(Instruction::Jump(distance)) => waiting.push(by(*distance)),
                Some(Instruction::Split(one, other)) => waiting.extend([by(*one), by(*other)]),
                Some(Instruction::LineStart) if at == 0 => waiting.push(by(1)),
                Some(Instruction::LineEnd) if at == end => waiting.push(by(1)),
                _ => {}
            }
        }
        false
    }
}

/// A set of states that remembers their order.
struct States {
    list: Vec<usize>,
    known: Vec<bool>,
}

impl States {
    fn new(count: usize) -> Self {
        Self {
            list: Vec::new(),
            known: alloc::vec![false; count],
        }
    }

    fn add(&mut self, state: usize) -> bool {
        match self.known.get_mut(state) {
            Some(known) if !*known => {
                *known = true;
                self.list.push(state);
                true
            }
            _ => false,
        }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.known.fill(false);
    }
}

struct Parser<'a> {
    rest: &'a [u8],
}

type Program = Vec<Instruction>;

/// A distance over this many instructions.
fn over(count: usize) -> isize {
    isize::try_from(count).unwrap_or(isize::MAX)
}

impl Parser<'_> {
    fn take(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn takes(&mut self, wanted: u8) -> bool {
        let found = self.rest.first() == Some(&wanted);
        if found {
            self.take();
        }
        found
    }

    fn alternation(&mut self, depth: usize) -> Result<Program, BadPattern> {
        if depth > DEPTH_MAX {
            return Err(BadPattern);
        }
        let mut program = self.sequence(depth)?;
        while self.takes(b'|') {
            let other = self.sequence(depth)?;
            let mut both =
                alloc::vec![Instruction::Split(1, over(program.len()).saturating_add(2))];
            both.append(&mut program);
            both.push(Instruction::Jump(over(other.len()).saturating_add(1)));
            both.extend(other);
            program = checked(both)?;
        }
        Ok(program)
    }

    fn sequence(&mut self, depth: usize) -> Result<Program, BadPattern> {
        let mut program = Program::new();
        while !matches!(self.rest.first(), None | Some(b'|')) {
            if self.rest.first() == Some(&b')') && depth > 0 {
                break;
            }
            let atom = self.atom(depth)?;
            let repeated = self.repetition(atom)?;
            program.extend(repeated);
            program = checked(program)?;
        }
        Ok(program)
    }

    fn atom(&mut self, depth: usize) -> Result<Program, BadPattern> {
        let instruction = match self.take().ok_or(BadPattern)? {
            b'(' => {
                let inner = self.alternation(depth.saturating_add(1))?;
                return if self.takes(b')') {
                    Ok(inner)
                } else {
                    Err(BadPattern)
                };
            }
            b'.' => Instruction::Any,
            b'^' => Instruction::LineStart,
            b'$' => Instruction::LineEnd,
            b'[' => self.set()?,
            b'*' | b'+' | b'?' => return Err(BadPattern),
            b'\\' => Instruction::Byte(self.take().ok_or(BadPattern)?),
            byte => Instruction::Byte(byte),
        };
        Ok(alloc::vec![instruction])
    }

    fn repetition(&mut self, atom: Program) -> Result<Program, BadPattern> {
        let mut program = atom;
        loop {
            let (least, most) = match self.rest.first() {
                Some(b'*') => (0, None),
                Some(b'+') => (1, None),
                Some(b'?') => (0, Some(1)),
                Some(b'{') if self.rest.get(1).is_some_and(u8::is_ascii_digit) => {
                    self.take();
                    program = self.counted(&program)?;
                    continue;
                }
                _ => return Ok(program),
            };
            self.take();
            program = repeat(&program, least, most)?;
        }
    }

    fn counted(&mut self, atom: &Program) -> Result<Program, BadPattern> {
        let least = self.number().ok_or(BadPattern)?;
        let most = if self.takes(b',') {
            self.number()
        } else {
            Some(least)
        };
        if !self.takes(b'}') || most.is_some_and(|most| most < least) {
            return Err(BadPattern);
        }
        repeat(atom, least, most)
    }

    fn number(&mut self) -> Option<u32> {
        let mut number: Option<u32> = None;
        while let Some(digit) = self
            .rest
            .first()
            .and_then(|byte| char::from(*byte).to_digit(10))
        {
            let before = number.unwrap_or(0).min(REPETITIONS_MAX.saturating_add(1));
            number = Some(before.saturating_mul(10).saturating_add(digit));
            self.take();
        }
        number
    }

    fn set(&mut self) -> Result<Instruction, BadPattern> {
        let negated = self.takes(b'^');
        let mut set = Box::new([false; 256]);
        let mut first = true;
        while first || self.rest.first() != Some(&b']') {
            first = false;
            if self.rest.starts_with(b"[:") {
                let text = self.rest.get(2..).unwrap_or_default();
                let end = text
                    .windows(2)
                    .position(|pair| pair == b":]")
                    .ok_or(BadPattern)?;
                let name = text.get(..end).unwrap_or_default();
                for (byte, member) in (0..=u8::MAX).zip(set.iter_mut()) {
                    *member |= in_class(name, byte);
                }
                self.rest = text.get(end.saturating_add(2)..).unwrap_or_default();
                continue;
            }
            let low = self.take().ok_or(BadPattern)?;
            let is_range = matches!(self.rest, [b'-', next, ..] if *next != b']');
            let high = if is_range {
                self.take();
                self.take().ok_or(BadPattern)?
            } else {
                low
            };
            if high < low {
                return Err(BadPattern);
            }
            let members = set.iter_mut().skip(usize::from(low));
            members
                .take(usize::from(high - low).saturating_add(1))
                .for_each(|member| *member = true);
        }
        self.take();
        if negated {
            set.iter_mut().for_each(|member| *member = !*member);
        }
        Ok(Instruction::Set(set))
    }
}

fn checked(program: Program) -> Result<Program, BadPattern> {
    if program.len() > INSTRUCTIONS_MAX {
        return Err(BadPattern);
    }
    Ok(program)
}

fn repeat(atom: &Program, least: u32, most: Option<u32>) -> Result<Program, BadPattern> {
    if least > REPETITIONS_MAX || most.is_some_and(|most| most > REPETITIONS_MAX) {
        return Err(BadPattern);
    }
    let mut program = Program::new();
    for _ in 0..least {
        program.extend(atom.iter().cloned());
        program = checked(program)?;
    }
    let length = over(atom.len());
    match most {
        None => {
            program.push(Instruction::Split(1, length.saturating_add(2)));
            program.extend(atom.iter().cloned());
            program.push(Instruction::Jump(length.saturating_add(1).saturating_neg()));
        }
        Some(most) => {
            for _ in least..most {
                program.push(Instruction::Split(1, length.saturating_add(1)));
                program.extend(atom.iter().cloned());
                program = checked(program)?;
            }
        }
    }
    checked(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let regex = Regex::new(pattern.as_bytes()).unwrap();
        for line in yes {
            assert!(regex.matches(line.as_bytes()), "{pattern} {line}");
        }
        for line in no {
            assert!(!regex.matches(line.as_bytes()), "{pattern} {line}");
        }
    }

    #[test]
    fn patterns_match_anywhere_unless_they_are_tied_to_an_end() {
        check("", &["", "a"], &[]);
        check("b", &["abc"], &["", "ac"]);
        check("^ab$", &["ab"], &["abc", "cab"]);
        check("^a|b$", &["ax", "xb"], &["xa", "bx"]);
        check("a.c", &["xabcx"], &["ac"]);
        check(r"\.\*", &["a.*"], &["ab*"]);
    }

    #[test]
    fn repetitions_and_groups_count() {
        check("^(ab)*c$", &["c", "ababc"], &["abac"]);
        check("^a+b?$", &["a", "aab"], &["b", "abb"]);
        check("^(a|b){2,3}$", &["ab", "aba"], &["a", "abab"]);
        check("^x{2}$", &["xx"], &["x", "xxx"]);
        check("^x{2,}$", &["xxx"], &["x"]);
        check("a{", &["a{"], &["a"]);
        check("(^|/)x", &["x", "a/x"], &["ax"]);
    }

    #[test]
    fn sets_have_ranges_and_classes() {
        check("^[a-c]$", &["b"], &["d"]);
        check("^[^a-c]$", &["d"], &["a"]);
        check("^[]a]$", &["]", "a"], &["b"]);
        check("^[[:digit:]_-]+$", &["1_2-"], &["a"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "(",
            "a)(",
            "[a",
            "*a",
            "a{3,2}",
            "[b-a]",
            "\\",
            "a{256}",
            "((((a{255}){255}){255}){255})",
        ] {
            assert_eq!(
                Regex::new(bad.as_bytes()).map(drop),
                Err(BadPattern),
                "{bad}"
            );
        }
    }

    proptest! {
        #[test]
        fn plain_words_are_found_where_they_are(word in "[a-z]{1,6}", before in "[a-z]{0,6}", after in "[a-z]{0,6}") {
            let regex = Regex::new(word.as_bytes()).unwrap();
            let line = alloc::format!("{before}{word}{after}");
            prop_assert!(regex.matches(line.as_bytes()));
            prop_assert_eq!(regex.matches(before.as_bytes()), before.contains(&word));
        }

        #[test]
        fn any_pattern_ends_on_any_line(pattern in r"[a()|*+?.\[\]^${},0-3\\]{0,20}", line in "[a0-3]{0,30}") {
            if let Ok(regex) = Regex::new(pattern.as_bytes()) {
                regex.matches(line.as_bytes());
            }
        }
    }
}
