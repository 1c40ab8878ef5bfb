#include "fs/request_tracer.hpp"

#include <gtest/gtest.h>

#include "tests/unit/fs/log_capture.hpp"
#include "tests/unit/fs/recording_sink.hpp"
#include "tests/unit/fs/test_request.hpp"

namespace ouro::fs {
namespace {

class RequestTracerTest : public ::testing::Test {
 protected:
  Request& receive(const Message& message) {
    EXPECT_TRUE(request_.receive(message));
    return request_;
  }

  TestRequest request_;
  RecordingSink sink_;
  LogCapture log_;
  RequestTracer tracer_{sink_, log_.sink()};
};

TEST_F(RequestTracerTest, TellsOfARequestAndHandsItOn) {
  Request& request = receive(Message(FUSE_LOOKUP, 5).name("x").unique(8).from(1, 2, 3));
  tracer_.on_request(request);
  EXPECT_EQ(sink_.held, std::vector<Request*>{&request});
  EXPECT_EQ(log_.containing(""),
            std::vector<std::string>{"unique=8 LOOKUP node=5 bytes=42 uid=1 gid=2 pid=3"});
}

TEST_F(RequestTracerTest, TellsHowItEnded) {
  Request& request = receive(Message(FUSE_READ).unique(8));
  request.succeed(100);
  tracer_.on_finished(request);
  request.fail(ENOENT);
  tracer_.on_finished(request);
  request.fail(0x1ff);
  tracer_.on_reply_lost(request);
  tracer_.on_finished(request);
  EXPECT_EQ(sink_.finished, (std::vector<std::uint64_t>{8, 8, 8}));
  EXPECT_EQ(sink_.lost, std::vector<std::uint64_t>{8});
  EXPECT_EQ(log_.containing("unique=8 READ"),
            (std::vector<std::string>{
                "unique=8 READ: ok, 100 bytes", "unique=8 READ: ENOENT, 0 bytes",
                "unique=8 READ: the reply did not arrive", "unique=8 READ: error, 0 bytes"}));
}

TEST_F(RequestTracerTest, AnOpcodeThatNobodyKnows) {
  tracer_.on_request(receive(Message(4096).unique(8)));
  EXPECT_TRUE(log_.has("unique=8 opcode 4096 node=1"));
}

TEST_F(RequestTracerTest, HandsTheEndOn) {
  tracer_.on_disconnect(Disconnect::kAborted);
  EXPECT_EQ(sink_.disconnected, Disconnect::kAborted);
}

}  // namespace
}  // namespace ouro::fs
