//! Inputs near those of a corpus, the same ones for the same seed.

/// Texts that parsers have opinions about.
const TOKENS: [&str; 24] = [
    "0",
    "-1",
    "65536",
    "4294967295",
    "18446744073709551615",
    "1e400",
    "null",
    "true",
    "{}",
    "[",
    "\"",
    "'",
    "\\",
    "\n",
    "\r\n",
    "\0",
    "..",
    "/",
    ":",
    "=",
    "\u{feff}",
    "\u{e4}",
    "${X}",
    " #",
];

/// Longest input that is made, in bytes.
const LENGTH_MAX: usize = 8192;

/// Makes inputs.
pub struct Mutator<'a> {
    state: u64,
    seeds: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    /// One that varies these.
    pub fn new(seed: u64, seeds: &'a [Vec<u8>]) -> Self {
        Self { state: seed, seeds }
    }

    /// The next input: one of the corpus after a few changes.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.seed();
        for _ in 0..=self.below(4) {
            self.change(&mut input);
        }
        input.truncate(LENGTH_MAX);
        input
    }

    fn seed(&mut self) -> Vec<u8> {
        let index = self.below(self.seeds.len());
        self.seeds.get(index).cloned().unwrap_or_default()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let from = self.below(input.len() + 1);
        let to = (from + self.below(16)).min(input.len());
        match self.below(7) {
            0 => drop(input.drain(from..to)),
            1 => input.truncate(from),
            2 => {
                let again = input[from..to].to_vec();
                input.splice(from..from, again);
            }
            3 => {
                let token = TOKENS[self.below(TOKENS.len())];
                input.splice(from..to, token.bytes());
            }
            4 => {
                let other = self.seed();
                let start = self.below(other.len() + 1);
                input.splice(from.., other[start..].iter().copied());
            }
            5 => {
                if let Some(byte) = input.get_mut(from) {
                    *byte ^= 1 << self.below(8);
                }
            }
            _ => {
                let byte = self.next().to_le_bytes()[0];
                input.insert(from, byte);
            }
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % limit).unwrap_or_default()
    }

    /// `SplitMix64`: a counter, and a mixture of its bits.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
