// Numbers of the network device (virtio 1.2, 5.1).
#pragma once
#include "devices/virtio/spec.h"

namespace godwit::devices::virtio {

// 5.1.3: features.
inline constexpr uint64_t kNetCsum = feature(0);
inline constexpr uint64_t kNetGuestCsum = feature(1);
inline constexpr uint64_t kNetCtrlGuestOffloads = feature(2);
inline constexpr uint64_t kNetMtu = feature(3);
inline constexpr uint64_t kNetMac = feature(5);
inline constexpr uint64_t kNetGuestTso4 = feature(7);
inline constexpr uint64_t kNetGuestTso6 = feature(8);
inline constexpr uint64_t kNetGuestEcn = feature(9);
inline constexpr uint64_t kNetHostTso4 = feature(11);
inline constexpr uint64_t kNetHostTso6 = feature(12);
inline constexpr uint64_t kNetHostEcn = feature(13);
inline constexpr uint64_t kNetMrgRxbuf = feature(15);
inline constexpr uint64_t kNetStatus = feature(16);
inline constexpr uint64_t kNetCtrlVq = feature(17);
inline constexpr uint64_t kNetGuestAnnounce = feature(21);
inline constexpr uint64_t kNetMq = feature(22);
inline constexpr uint64_t kNetCtrlMacAddr = feature(23);
// What a driver may switch while it runs (5.1.6.5.7).
inline constexpr uint64_t kNetGuestOffloads =
    kNetGuestCsum | kNetGuestTso4 | kNetGuestTso6 | kNetGuestEcn;

// 5.1.4: the device's configuration.
inline constexpr uint32_t kNetConfigMac = 0;
inline constexpr uint32_t kNetConfigStatus = 6;
inline constexpr uint32_t kNetConfigPairs = 8;
inline constexpr uint32_t kNetConfigMtu = 10;
inline constexpr uint32_t kNetConfigBytes = 12;
inline constexpr uint16_t kNetLinkUp = 1;
inline constexpr uint16_t kNetAnnounce = 2;

// 5.1.6.5: classes of the control queue and their commands.
inline constexpr uint8_t kNetMacClass = 1;
inline constexpr uint8_t kNetMacSet = 1;
inline constexpr uint8_t kNetAnnounceClass = 3;
inline constexpr uint8_t kNetAnnounceAck = 0;
inline constexpr uint8_t kNetMqClass = 4;
inline constexpr uint8_t kNetMqPairsSet = 0;
inline constexpr uint8_t kNetOffloadsClass = 5;
inline constexpr uint8_t kNetOffloadsSet = 0;
inline constexpr uint8_t kNetOk = 0;
inline constexpr uint8_t kNetError = 1;

// 5.1.6: in the header of a frame.
inline constexpr size_t kFlagsOffset = 0;
inline constexpr size_t kNumBuffersOffset = 10;

}  // namespace godwit::devices::virtio
