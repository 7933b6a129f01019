#include "vmm/boot/identify.h"

#include <gtest/gtest.h>

#include "tests/boot/boot_images.h"
#include "vmm/boot/kernel.h"

namespace godwit::vmm {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace)
using namespace std::string_view_literals;

struct Case {
  std::string_view bytes;
  std::string_view found;
};

Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::string error_of(std::string_view content) {
  const Bytes bytes = bytes_of(content);
  const Image kernel = Image::of(bytes, "/k");
  const auto memory = guest_of(16_MiB);
  const auto result = load_kernel(*memory, {.kernel = kernel});
  EXPECT_FALSE(result.has_value());
  EXPECT_TRUE(memory->touched().empty());
  return result ? "" : result.error().message;
}

TEST(Identify, NamesWhatIsNoKernel) {
  const Case cases[] = {
      {""sv, "an empty file"},
      {"#!/bin/sh\necho"sv, "a shell script"},
      {"#!/usr/bin/env python3\n"sv, "a script"},
      {"\x1f\x8b\x08\0"sv, "gzip data"},
      {"\xfd"
       "7zXZ\0\0"sv,
       "xz data"},
      {"\x28\xb5\x2f\xfd"sv, "zstd data"},
      {"\x02\x21\x4c\x18"sv, "lz4 data"},
      {"070701000000"sv, "a cpio archive"},
      {"QFI\xfb\0"sv, "a qcow2 disk image"},
      {"just words\n"sv, "a text file"},
      {"MZ\0\0"sv, "an EFI program"},
      {"\x01\x02\x03\0"sv, "data of a kind unknown"},
      {"\x7f"
       "ELF\x02\x01\x01"sv,
       "a truncated ELF"},
  };
  for (const Case& c : cases) {
    EXPECT_NE(error_of(c.bytes).find("/k is no kernel but " + std::string(c.found)),
              std::string::npos)
        << error_of(c.bytes);
  }
}

TEST(Identify, AdvisesToUnpackCompressedKernels) {
  EXPECT_NE(error_of("\x1f\x8b\x08\0"sv).find("unpack it first"), std::string::npos);
}

TEST(Identify, NamesElfsOfOtherMachines) {
  TestElf elf = small_elf();
  elf.machine = 183;
  EXPECT_EQ(identify(elf.build()).found, "an ELF for aarch64");
  elf.machine = 62;
  elf.elf_class = 1;
  EXPECT_EQ(identify(elf.build()).found, "a 32-bit ELF");
  elf.machine = 3;
  EXPECT_EQ(identify(elf.build()).found, "a 32-bit ELF");
  elf = small_elf();
  elf.machine = 4711;
  EXPECT_EQ(identify(elf.build()).found, "an ELF for machine 4711");
}

TEST(Identify, NamesBootSectorsAndArm64Images) {
  Bytes sector(512);
  sector[510] = std::byte{0x55};
  sector[511] = std::byte{0xaa};
  EXPECT_EQ(identify(sector).found, "a disk image or boot sector");
  Bytes arm(64);
  const Bytes magic = bytes_of("ARM\x64");
  std::copy(magic.begin(), magic.end(), arm.begin() + 0x38);
  EXPECT_EQ(identify(arm).found, "an arm64 Linux Image");
}

TEST(Identify, KnowsWhatBoots) {
  EXPECT_EQ(identify(small_elf().build()).kind, ImageKind::kElf64X86);
  EXPECT_EQ(identify(TestBzImage().build()).kind, ImageKind::kBzImage);
  // With an EFI stub it begins as a PE file.
  Bytes stub = TestBzImage().build();
  stub[0] = std::byte{'M'};
  stub[1] = std::byte{'Z'};
  EXPECT_EQ(identify(stub).kind, ImageKind::kBzImage);
}

}  // namespace
}  // namespace godwit::vmm
