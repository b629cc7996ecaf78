//! What stands between the network and the Signal library, because the published version does not check it.
