//! Sets of state sets.

/// Some of the state sets that are being resolved, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSets {
    /// One bit for each set; the least significant bit of the first word is set 0. The last word is never 0,
    /// so that equal sets compare as equal.
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

    /// Adds the state sets of `other`.
    pub fn extend(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// The number of state sets.
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
