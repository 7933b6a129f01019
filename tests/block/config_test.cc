#include "devices/block/config.h"

#include <gtest/gtest.h>

namespace godwit::devices {
namespace {

std::string error_of(std::string_view text) {
  const auto config = parse_disk(text, "disk0");
  if (config) return "none";
  EXPECT_EQ(config.error().code, Errc::kInvalidArgument) << text;
  return config.error().message;
}
void expect_refused(std::string_view text, std::string_view naming) {
  EXPECT_NE(error_of(text).find(naming), std::string::npos) << text << " -> " << error_of(text);
}

TEST(DiskConfig, PathAloneTakesTheDefaults) {
  const DiskConfig config = parse_disk("path=/images/root.raw", "disk3").value();
  EXPECT_EQ(config.id, "disk3");
  EXPECT_EQ(config.path, "/images/root.raw");
  EXPECT_FALSE(config.is_nbd());
  EXPECT_FALSE(config.read_only);
  EXPECT_EQ(config.queues, 1);
  EXPECT_EQ(config.queue_size, 256u);
  EXPECT_EQ(config.direct, DirectMode::kAuto);
  EXPECT_EQ(config.aio, DiskAio::kAuto);
  EXPECT_TRUE(config.discard);
  EXPECT_TRUE(config.lock);
  EXPECT_FALSE(config.share);
}

TEST(DiskConfig, EveryKeyOfAFileIsUnderstood) {
  const DiskConfig config =
      parse_disk(
          "id=a.B_9-z,path=x,readonly,queues=16,queue-size=512,serial=S 1,direct=off,"
          "aio=threads,discard=off,share=on,lock=on",
          "disk0")
          .value();
  EXPECT_EQ(config.id, "a.B_9-z");
  EXPECT_TRUE(config.read_only);
  EXPECT_EQ(config.queues, 16);
  EXPECT_EQ(config.queue_size, 512u);
  EXPECT_EQ(config.serial, "S 1");
  EXPECT_EQ(config.direct, DirectMode::kOff);
  EXPECT_EQ(config.aio, DiskAio::kThreads);
  EXPECT_FALSE(config.discard);
  EXPECT_TRUE(config.share);
}

TEST(DiskConfig, EveryKeyOfNbdIsUnderstood) {
  const DiskConfig config =
      parse_disk("nbd=nbds://host:1/name,tls-dir=/pki,reconnect=0,readonly=off", "d").value();
  EXPECT_TRUE(config.is_nbd());
  EXPECT_EQ(config.source(), "nbds://host:1/name");
  EXPECT_EQ(config.tls_dir, "/pki");
  EXPECT_EQ(config.reconnect.count(), 0);
  EXPECT_FALSE(config.read_only);
}

TEST(DiskConfig, TwoCommasAreOneInsideOfAValue) {
  EXPECT_EQ(parse_disk("path=a,,b,,,,c,serial=1,,2", "d").value().path, "a,b,,c");
  EXPECT_EQ(parse_disk("path=a,serial=1,,2", "d").value().serial, "1,2");
  EXPECT_EQ(parse_disk("path=x=y", "d").value().path, "x=y");
}

TEST(DiskConfig, MistakesAreNamedWithWhatIsAllowed) {
  expect_refused("path=x,pth=y", "pth is not known; known are id, path, nbd, readonly");
  expect_refused("path=x,path=y", "path is given twice");
  expect_refused("readonly,readonly=off,path=x", "readonly is given twice");
  expect_refused("", "holds no key");
  expect_refused("path=x,", "holds no key");
  expect_refused("=x", "holds no key");
  expect_refused(std::string_view("path=x\0y", 8), "zero byte");
  expect_refused("readonly", "give either path=FILE");
  expect_refused("path=x,nbd=nbd://h", "give either path=FILE");
  expect_refused("path", "path needs a value");
  expect_refused("path=", "path needs a value");
  expect_refused("path=x,readonly=yes", "readonly=yes is neither on nor off");
  expect_refused("path=x,direct=maybe", "direct=maybe is not on, off or auto");
  expect_refused("path=x,aio=native", "aio=native is not auto, io_uring or threads");
  expect_refused("nbd=http://h", "nbd+unix://");
  expect_refused("nbd=nbd://h,tls-dir=/x", "tls-dir=/x needs a URI with TLS");
  expect_refused("path=x,tls-dir=/x", "tls-dir is for disks with nbd=URI");
  expect_refused("path=x,reconnect=3", "reconnect is for disks with nbd=URI");
  expect_refused("nbd=nbd://h,direct=on", "direct is for disks with path=");
  expect_refused("nbd=nbd://h,share=on", "share is for disks with path=");
  expect_refused("path=x,share=on,lock=off", "lock=off");
}

TEST(DiskConfig, NumbersHaveLimits) {
  for (const char* text :
       {"queues=0", "queues=17", "queues=", "queues=1x", "queues=-1", "queues", "queues= 1",
        "queues=99999999999999999999", "queue-size=8", "queue-size=2048"}) {
    expect_refused(std::string("path=x,") + text, "is no number from");
  }
  expect_refused("path=x,queue-size=100", "no power of two");
  expect_refused("nbd=nbd://h,reconnect=86401", "is no number from 0 to 86400");
}

TEST(DiskConfig, IdsAndSerialsHaveTheirAlphabet) {
  const std::string longest(48, 'x');
  EXPECT_EQ(parse_disk("path=x,id=" + longest, "d").value().id, longest);
  expect_refused("path=x,id=" + longest + "x", "1 to 48");
  expect_refused("path=x,id=", "1 to 48");
  expect_refused("path=x,id", "1 to 48");
  expect_refused("path=x,id=a b", "1 to 48");
  expect_refused("path=x,id=\xc3\xa4", "1 to 48");
  EXPECT_EQ(parse_disk("path=x,serial=12345678901234567890", "d").value().serial.size(), 20u);
  expect_refused("path=x,serial=123456789012345678901", "1 to 20 printable");
  expect_refused("path=x,serial=a\tb", "1 to 20 printable");
}

}  // namespace
}  // namespace godwit::devices
