using System.Text;
using NUnit.Framework;
using Saturn.Emulator;
using Saturn.Kernels.Cuda;

namespace Saturn.Tests.Emulator;

/// <summary>Ground of the tests of the emulated driver: one driver with its context current and one stream; nothing may be left when it is disposed.</summary>
public abstract unsafe class EmulatedDriverTest
{
    /// <summary>
    /// A kernel <c>scale</c> that multiplies <c>count</c> floats at <c>data</c> by <c>factor</c>; its argument struct is <c>{ float* data; int count; float factor; }</c>. A thread works on one element.
    /// </summary>
    private protected const string ScalePtx = """
        .version 7.0
        .target sm_80
        .address_size 64

        .visible .entry scale(.param .align 8 .b8 scale_param_0[16])
        .maxntid 256, 1, 1
        {
            .reg .pred %p<2>;
            .reg .f32 %f<4>;
            .reg .b32 %r<6>;
            .reg .b64 %rd<5>;
            ld.param.u64 %rd1, [scale_param_0];
            ld.param.u32 %r1, [scale_param_0+8];
            ld.param.f32 %f1, [scale_param_0+12];
            mov.u32 %r2, %ctaid.x;
            mov.u32 %r3, %ntid.x;
            mov.u32 %r4, %tid.x;
            mad.lo.s32 %r5, %r2, %r3, %r4;
            setp.ge.s32 %p1, %r5, %r1;
            @%p1 bra $L__BB0_2;
            cvta.to.global.u64 %rd2, %rd1;
            mul.wide.s32 %rd3, %r5, 4;
            add.s64 %rd4, %rd2, %rd3;
            ld.global.f32 %f2, [%rd4];
            mul.f32 %f3, %f2, %f1;
            st.global.f32 [%rd4], %f3;
        $L__BB0_2:
            ret;
        }
        """;

    internal struct ScaleArguments
    {
        public nint Data;
        public int Count;
        public float Factor;
    }

    internal static readonly byte[] ScaleImage = Encoding.UTF8.GetBytes(ScalePtx + '\0');

    private protected EmulatedDriver Driver { get; private set; } = null!;

    private protected nint Stream { get; private set; }

    private protected virtual EmulatorOptions Options => new(Checked: true, Workers: 2);

    [SetUp]
    public void OpenDriver()
    {
        Driver = new EmulatedDriver(Options);
        Driver.SetCurrentContext(Driver.RetainPrimaryContext(0));
        Stream = Driver.CreateStream();
    }

    [TearDown]
    public void CloseDriver()
    {
        Driver.DestroyStream(Stream);
        Driver.ReleasePrimaryContext(0);
        Driver.Dispose();
        Assert.That(Driver.Leaks, Is.Empty);
    }

    /// <summary>Device memory with these values, written in stream order.</summary>
    private protected nint Upload(params ReadOnlySpan<float> values)
    {
        nint address = Driver.AllocateAsync(values.Length * sizeof(float), Stream);
        fixed (float* first = values)
        {
            Driver.CopyToDeviceAsync(address, first, values.Length * sizeof(float), Stream);
        }

        return address;
    }

    /// <summary>Values of device memory, waited for.</summary>
    private protected float[] Read(nint address, int count)
    {
        float[] values = new float[count];
        fixed (float* first = values)
        {
            Driver.CopyToHostAsync(first, address, count * sizeof(float), Stream);
            Driver.SynchronizeStream(Stream);
        }

        return values;
    }

    private protected void LaunchScale(nint function, nint data, int count, float factor)
    {
        ScaleArguments arguments = new() { Data = data, Count = count, Factor = factor };
        Driver.Launch(function, LaunchGeometry.Cover(count, 128), &arguments, (nuint)sizeof(ScaleArguments), Stream);
    }

    /// <summary>The call must fail with this code of the driver; returns the message.</summary>
    private protected static string Fails(int code, Action call)
    {
        CudaException? exception = Assert.Catch<CudaException>(call);
        Assert.That(exception!.Code, Is.EqualTo(code), exception.Message);
        return exception.Message;
    }
}
