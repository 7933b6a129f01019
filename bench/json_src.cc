// Boost.JSON compiled once. Nothing else may stand in this file: where another library brings the
// same symbols, the linker then takes one of the two objects and leaves the other.
#include <boost/json/src.hpp>
