namespace Saturn.Emulator;

internal static class EmulatedDevice
{
    public const int InvalidValue = 1;
}
