#pragma warning disable
namespace Saturn.Emulator.Memory;

internal sealed unsafe class DeviceAllocation
{
    public nint Base;
    public long Length;
    public byte* Written;
    public bool Freed;
    public int Number;
    public string Origin = "";
}

internal sealed class DeviceAllocations
{
    public DeviceAllocation? Find(nint address) => null;
}
