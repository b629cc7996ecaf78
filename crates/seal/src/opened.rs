//! What came in: a ciphertext as it arrived, and a content that was opened but must not be read yet.
