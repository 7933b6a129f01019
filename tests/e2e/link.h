// Two network namespaces joined by a cable that can be pulled.
#pragma once
#include <string>

namespace godwit::e2e {

class Link {
 public:
  // Makes them; why() says so if that cannot be done here.
  Link();
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  [[nodiscard]] const std::string& why() const { return why_; }
  [[nodiscard]] const std::string& left() const { return left_; }
  [[nodiscard]] const std::string& right() const { return right_; }
  // An address in the right one that the left one reaches.
  static constexpr const char* kRightAddress = "10.203.0.2";
  void pull();

 private:
  bool ip(const std::string& arguments);
  std::string left_;
  std::string right_;
  std::string why_;
};

}  // namespace godwit::e2e
