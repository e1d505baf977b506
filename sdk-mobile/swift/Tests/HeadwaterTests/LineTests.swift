import Testing
@testable import Headwater
@Test func nothing() {}
