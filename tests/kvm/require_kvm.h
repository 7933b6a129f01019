// Skips a test, saying why, where KVM cannot be used; a failure instead when the environment says
// GODWIT_REQUIRE_KVM=1, so that a test machine that should have KVM cannot pass by skipping.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>
#include <string_view>

#include "vmm/kvm/system.h"

// In the body of a test or SetUp().
#define GODWIT_REQUIRE_KVM()                                                                    \
  do {                                                                                          \
    if (const auto kvm = ::godwit::vmm::KvmSystem::open(); !kvm) {                              \
      const char* must = std::getenv("GODWIT_REQUIRE_KVM"); /* NOLINT(concurrency-mt-unsafe) */ \
      if (must != nullptr && std::string_view(must) == "1") {                                   \
        FAIL() << kvm.error().message;                                                          \
      }                                                                                         \
      GTEST_SKIP() << kvm.error().message;                                                      \
    }                                                                                           \
  } while (false)
