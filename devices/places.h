// Where the virtio devices of a board lie. Only for the board's own files.
#pragma once
#include <memory>
#include <vector>

#include "devices/virtio/model.h"
#include "devices/virtio/pci_device.h"

namespace godwit::devices {

// Slots from 1 on in the order of the models, instances counted by type.
std::vector<virtio::PciPlace> places_of(const std::vector<std::unique_ptr<virtio::Model>>& models);

}  // namespace godwit::devices
