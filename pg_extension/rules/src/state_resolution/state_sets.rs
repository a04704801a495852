//! Sets of state sets.

/// Some of the state sets that are being resolved, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSets {
    /// Bits, the least significant of the first word for set 0. No trailing zeros, so that equal sets are equal.
    words: Vec<u64>,
}

impl StateSets {
    /// Adds a state set.
    pub fn insert(&mut self, set: usize) {
        let word = set / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (set % 64);
    }

    /// Adds those of another.
    pub fn extend(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
}

impl FromIterator<usize> for StateSets {
    fn from_iter<I: IntoIterator<Item = usize>>(sets: I) -> Self {
        let mut all = Self::default();
        sets.into_iter().for_each(|set| all.insert(set));
        all
    }
}
