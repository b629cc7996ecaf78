//! Generates the protobuf types of the archive; protox parses, so that our own build needs no `protoc` program.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "../../proto";
    println!("cargo::rerun-if-changed={folder}/archive.proto");
    let descriptors = protox::compile(["archive.proto"], [folder])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
