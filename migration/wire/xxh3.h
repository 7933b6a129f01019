// XXH3 from libxxhash, in the widest vectors that this CPU has where the library chooses at run
// time: XXH3_64bits() and its kin are then macros for their dispatching twins.
#pragma once
#ifdef GODWIT_XXH_DISPATCH
#include <xxh_x86dispatch.h>
#endif
#include <xxhash.h>
