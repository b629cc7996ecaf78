//! Generates the protobuf types of the content; protox parses, so that our own build needs no `protoc` program.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "../../proto";
    println!("cargo::rerun-if-changed={folder}/content.proto");
    let descriptors = protox::compile(["content.proto"], [folder])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
